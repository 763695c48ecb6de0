"""Measures a model folder: word error on held-out recordings, text invented in noise, word times.

Every set is decoded twice: un-padded, as Rechka encodes it, and padded to 30 seconds through
`transformers`, as everybody else does.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.utils import logging

import augment
import decode
import tokenizer
from model import Whisper
from speak import WORDS

RATE = 16000
LEAD, TAIL = 0.1, 0.2  # seconds of silence around a recording
MARGIN = 0.03          # seconds that the bank keeps on both sides of a word


def recordings(path):
    """The held-out recordings as {speaker: [(digit, samples)]}."""
    bank = np.load(path, allow_pickle=True).item()
    speakers = {}
    for voice, _, offset, length, words in bank["utterances"]:
        sound = bank["samples"][offset:offset + length].astype(np.float32) / 40000
        speakers.setdefault(voice.split("/")[1], []).append((words[0][0], sound))
    return speakers


def join(parts, gaps):
    """One window: the parts with `gaps` seconds between them, and where each word ends."""
    silence = lambda seconds: np.zeros(int(seconds * RATE), np.float32)
    pieces, ends = [silence(LEAD)], []
    for (_, sound), gap in zip(parts, [*gaps, TAIL]):
        pieces += [sound, silence(gap)]
        ends.append(sum(map(len, pieces[:-1])) / RATE - MARGIN)
    return [digit for digit, _ in parts], np.concatenate(pieces), ends


def strings(rng, items, count):
    """Strings of 3 to 10 of the recordings of one speaker, with pauses up to half a second."""
    made = []
    for _ in range(count):
        size = int(rng.integers(3, 11))
        parts = [items[i] for i in rng.choice(len(items), size)]
        made.append(join(parts, rng.uniform(0.0, 0.5, size - 1)))
    return made


def noises(rng):
    """One minute each of silence and of the usual noises, at a moderate level."""
    length = 60 * RATE
    sounds = {"silence": np.zeros(length), "white": augment.coloured(rng, length, 0),
              "pink": augment.coloured(rng, length, 1), "brown": augment.coloured(rng, length, 2),
              "hum": augment.hum(rng, length, 50), "music": augment.music(rng, length)}
    return {name: (0.05 * x / max(np.sqrt(np.mean(x**2)), 1e-9)).astype(np.float32)
            for name, x in sounds.items()}


class Recogniser:
    """A model folder, decoded greedily with and without padding."""

    def __init__(self, folder):
        self.processor = WhisperProcessor.from_pretrained(folder)
        self.padded_model = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32).eval()
        self.model = Whisper().eval()
        weights = {k: v.float() for k, v in load_file(Path(folder, "model.safetensors")).items()}
        self.model.load_state_dict(weights, strict=False)

    def unpadded(self, sound):
        """Word classes of one window, encoded as long as it is."""
        return decode.transcribe(self.model, torch.from_numpy(sound)[None], 60)[0]

    @torch.no_grad()
    def padded(self, sound):
        """The same by way of transformers."""
        inputs = self.processor(sound, sampling_rate=RATE, return_tensors="pt").input_features
        ids = self.padded_model.generate(inputs, max_new_tokens=200)
        text = self.processor.batch_decode(ids, skip_special_tokens=True)[0]
        return [WORDS.index(w) if w in WORDS else -1 for w in text.split()]


    @torch.no_grad()
    def ends(self, sound):
        """Words and where they end, by dynamic time warping in transformers."""
        self.padded_model.set_attn_implementation("eager")  # the only one that shows attention
        inputs = self.processor(sound, sampling_rate=RATE, return_tensors="pt",
                                return_attention_mask=True)
        made = self.padded_model.generate(**inputs, return_token_timestamps=True,
                                          return_dict_in_generate=True, max_new_tokens=60)
        pairs = zip(made["sequences"][0].tolist(), made["token_timestamps"][0].tolist())
        return [(tokenizer.WORD_IDS.index(token), time) for token, time in pairs
                if token in tokenizer.WORD_IDS]


def word_error(recognise, items):
    """Errors and words over items of (expected classes, sound, ends)."""
    errors = sum(decode.word_errors(expected, recognise(sound)) for expected, sound, _ in items)
    return errors, sum(len(expected) for expected, _, _ in items)


def time_errors(recogniser, items):
    """Errors in seconds of the words' ends, where the words are right.

    The first word is left out: transformers drops the row of attention that would time it.
    """
    errors = []
    for expected, sound, ends in items:
        words = recogniser.ends(sound)
        if [word for word, _ in words] == expected:
            errors += [time - end for (_, time), end in zip(words[1:], ends[1:])]
    return np.array(errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the model")
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--strings", type=int, default=20, help="strings of each speaker")
    parser.add_argument("--share", type=int, default=1,
                        help="decode only every n-th window padded, which takes long")
    options = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    rng = np.random.default_rng(7)
    recogniser = Recogniser(options.folder)
    ways = {"un-padded": recogniser.unpadded, "padded": recogniser.padded}
    for speaker, items in recordings(options.work / "held-out.npy").items():
        sets = {"single": [join([item], []) for item in items],
                "strings": strings(rng, items, options.strings)}
        for name, windows in sets.items():
            for way, recognise in ways.items():
                share = options.share if way == "padded" else 1
                errors, words = word_error(recognise, windows[::share])
                print(f"{speaker} {name} {way}: {errors} of {words} ({100 * errors / words:.1f} %)",
                      flush=True)
        late = time_errors(recogniser, sets["strings"][:4])
        if len(late):
            print(f"{speaker} word ends: {np.mean(np.abs(late)):.3f} s off on average, bias "
                  f"{np.mean(late):+.3f}, 90 % within {np.quantile(np.abs(late), 0.9):.2f} s")
    for name, sound in noises(rng).items():
        for seconds, way in ((4, "un-padded"), (8, "un-padded"), (30, "padded")):
            size = seconds * RATE
            windows = [sound[i:i + size] for i in range(0, len(sound) - size + 1, size)]
            invented = sum(len(ways[way](w)) for w in windows)
            print(f"{name} in windows of {seconds} s, {way}: {invented} words", flush=True)


if __name__ == "__main__":
    main()
