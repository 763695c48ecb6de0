"""Spoken digits, and how many words somebody got wrong."""

import json
import wave

import numpy
from faster_whisper.audio import decode_audio
from running import ROOT

STORY = ROOT / "crates" / "rechka" / "story"
RATE = 44_100


def story(path, seconds):
    """The beginning of the story as a WAV file, 16-bit mono at 44.1 kHz; gives its words."""
    samples = decode_audio(str(STORY / "story.flac"), sampling_rate=RATE)
    words = json.loads((STORY / "story.json").read_text())
    # At a pause: no word is cut in two.
    end = max(a["end"] for a, b in zip(words, words[1:]) if a["end"] < seconds and b["start"] - a["end"] > 0.8) + 0.4
    samples = samples[: int(end * RATE)]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((numpy.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return [word["word"] for word in words if word["end"] <= end]


def words_of(text):
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()
