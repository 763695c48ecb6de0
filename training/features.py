"""Log-mel features as Whisper's extractor makes them, with disturbance of the spectrum."""

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

BINS = 201
WARPS = np.linspace(0.82, 1.22, 21)  # formant shifts


def filter_banks():
    """Whisper's mel filters, warped by each factor of `WARPS`: [warps, 80, bins]."""
    filters = mel_filter_bank(BINS, 80, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney").T
    bins = np.arange(BINS)
    warped = [[np.interp(bins / warp, bins, row) for row in filters] for warp in WARPS]
    return torch.tensor(np.array(warped), dtype=torch.float32)


FILTERS = filter_banks()
UNWARPED = int(np.abs(WARPS - 1).argmin())
WINDOW = torch.hann_window(400)


def power_spectrum(sound, hop=160):
    """Power of the short-time Fourier transform, [batch, bins, frames], less the last frame."""
    spectrum = torch.stft(sound, 400, hop, window=WINDOW, center=True, return_complex=True)
    return spectrum[..., :-1].abs() ** 2


def compress(mel):
    """Logarithm with a floor 8 decades under the loudest, scaled as Whisper wants it."""
    mel = mel.clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


def log_mel(sound):
    """Features of undisturbed sound [batch, samples]."""
    return compress(FILTERS[UNWARPED] @ power_spectrum(sound))


def equaliser(rng, count):
    """Random microphones: a smooth curve, for some a telephone's band; gains of power."""
    bins = np.arange(BINS)
    curves = []
    for _ in range(count):
        knots = rng.uniform(-5, 5, 6)
        curve = np.interp(bins, np.linspace(0, BINS, 6), knots) * (rng.random() < 0.7)
        if rng.random() < 0.2:
            curve = curve - rng.uniform(40, 100) * (bins > rng.uniform(80, 110))
        if rng.random() < 0.1:
            curve = curve - rng.uniform(10, 30) * (bins < rng.uniform(3, 8))
        curves.append(10 ** (curve / 10))
    return torch.tensor(np.array(curves), dtype=torch.float32)[:, :, None]


def disturbed(rng, sound, hop, padding):
    """Features with random speed (`hop`), formants, microphone and masks, and padding.

    A hop other than 160 changes the tempo and keeps the pitch. `padding` "silence" appends digital
    silence before the logarithm, as transformers does; "zero" appends zeros to the features, as
    faster-whisper does; each of 8 frames.
    """
    count = len(sound)
    if padding == "silence":
        sound = torch.nn.functional.pad(sound, (0, 8 * hop))
    warps = np.where(rng.random(count) < 0.8, rng.integers(0, len(WARPS), count), UNWARPED)
    mel = FILTERS[torch.tensor(warps)] @ (power_spectrum(sound, hop) * equaliser(rng, count))
    features = compress(mel)
    frames = features.shape[2] - (8 if padding == "silence" else 0)
    for row in features:
        if rng.random() < 0.12:
            low, width = rng.integers(0, 72), rng.integers(2, 12)
            row[low:low + width] = row.min()
        if rng.random() < 0.08:
            start, width = rng.integers(0, max(1, frames - 12)), rng.integers(2, 12)
            row[:, start:start + width] = row.min()
    if padding == "zero":
        features = torch.nn.functional.pad(features, (0, 8))
    return features
