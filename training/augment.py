"""Noise and distortion: what lies between a mouth and a microphone."""

import numpy as np
from scipy.signal import fftconvolve

RATE = 16000
SECONDS = 60  # length of each noise of the bank


def coloured(rng, length, exponent):
    """Noise whose power falls with frequency to the power of `exponent`."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20)
    return np.fft.irfft(spectrum * frequency ** (-exponent / 2), length)


def hum(rng, length, base):
    """Mains hum: a base frequency with harmonics, and a little hiss."""
    time = np.arange(length) / RATE
    tones = [rng.uniform(0, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6))
             for k in range(1, 12)]
    return sum(tones) + rng.uniform(0, 0.1) * rng.standard_normal(length)


def music(rng, length):
    """Chords of decaying harmonic tones, changing a few times a second."""
    audio = np.zeros(length)
    start = 0
    while start < length:
        span = int(rng.uniform(0.15, 0.8) * RATE)
        time = np.arange(min(span * 2, length - start)) / RATE
        for _ in range(rng.integers(1, 5)):
            pitch = 110 * 2 ** (rng.integers(0, 37) / 12)
            decay = np.exp(-time * rng.uniform(1, 8))
            for k in range(1, rng.integers(2, 8)):
                audio[start:start + len(time)] += decay * np.sin(2 * np.pi * pitch * k * time) / k
        start += span
    return audio


def clicks(rng, length):
    """Knocks and clicks: short resonances at random moments over faint noise."""
    audio = 0.003 * rng.standard_normal(length)
    for _ in range(length // RATE * 3):
        start = rng.integers(0, length - RATE // 4)
        time = np.arange(int(rng.uniform(0.002, 0.15) * RATE)) / RATE
        ring = np.sin(2 * np.pi * rng.uniform(80, 4000) * time) + rng.standard_normal(len(time))
        audio[start:start + len(time)] += rng.uniform(0.1, 1) * ring * np.exp(-time * 60)
    return audio


def babble(rng, length, voices):
    """Many voices at once; each is random utterances end to end, half of them reversed."""
    audio = np.zeros(length)
    for _ in range(8):
        position = 0
        while position < length:
            voice = voices[rng.integers(len(voices))].astype(np.float64) / 32768
            voice = voice[::-1] if rng.random() < 0.5 else voice
            part = voice[: length - position]
            audio[position:position + len(part)] += part * rng.uniform(0.5, 1)
            position += len(part) + rng.integers(0, RATE // 2)
    return audio


def flutter(rng, audio):
    """Noise that swells and falls like wind or syllables."""
    knots = rng.uniform(0, 1, len(audio) // RATE * 4) ** 2
    return audio * np.interp(np.arange(len(audio)), np.linspace(0, len(audio), len(knots)), knots)


def noise_bank(rng, voices):
    """A list of noises of one minute each, with unit power."""
    length = SECONDS * RATE
    colours = [coloured(rng, length, e) for e in (-1, 0, 0, 0.5, 1, 1, 1.5, 2, 2.5)]
    bank = colours + [flutter(rng, c) for c in colours[1::2]]
    bank += [hum(rng, length, base) for base in (50, 60, 100, 120)]
    bank += [music(rng, length) for _ in range(3)] + [clicks(rng, length) for _ in range(2)]
    bank += [babble(rng, length, voices) for _ in range(3)]
    return [(x / np.sqrt(np.mean(x**2))).astype(np.float32) for x in bank]


def reverberate(rng, audio):
    """Convolves with a random room: a direct sound and a decaying diffuse tail."""
    length = int(rng.uniform(0.08, 0.4) * RATE)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= rng.uniform(0.1, 0.7) / np.sqrt(np.sum(tail**2))
    tail[: int(rng.uniform(0.001, 0.01) * RATE)] = 0
    tail[0] = 1
    return fftconvolve(audio, tail.astype(np.float32))[: len(audio)]


def mu_law(audio):
    """Coding to 8 bits and back, as in telephony (ITU-T G.711, continuous form)."""
    compressed = np.sign(audio) * np.log1p(255 * np.minimum(np.abs(audio), 1)) / np.log(256)
    compressed = np.round(compressed * 127) / 127
    return np.sign(compressed) * (256 ** np.abs(compressed) - 1) / 255
