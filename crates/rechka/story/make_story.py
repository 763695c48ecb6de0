#!/usr/bin/env python3
"""Makes story.flac and story.json: the digits that `rechka demo` speaks, and when each word begins and ends.

    apt-get install espeak-ng ffmpeg && python3 make_story.py

Every word is synthesised alone and its silence trimmed, so that its times are known exactly.
"""
import json
import struct
import subprocess
import tempfile
import wave
from pathlib import Path

HERE = Path(__file__).parent
RATE = 16_000
PHRASES = [  # voice, speed (words a minute), words
    ("en-us", 150, "seven three oh five"),
    ("en-us+f2", 150, "one two three four five"),
    ("en-gb", 145, "nine eight seven six"),
    ("en-us+m3", 150, "four four two zero one nine"),
    ("en-us+f3", 140, "six"),
    ("en-gb+f4", 150, "two oh two six"),
    ("en-us", 160, "three one four one five nine two six"),
    ("en-gb+m1", 145, "zero zero seven"),
    ("en-us+f2", 150, "five four three two one zero"),
]
GAP, PAUSE = 0.09, 1.1  # seconds between words, between phrases


def spoken(word, voice, speed):
    """Samples of one word, 16 kHz, loudest at 60 % of full scale, silence trimmed."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as raw, tempfile.NamedTemporaryFile(suffix=".wav") as out:
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", raw.name, word], check=True)
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", raw.name, "-ar", str(RATE), "-ac", "1", out.name], check=True)
        with wave.open(out.name) as file:
            samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    peak = max(map(abs, samples))
    loud = [i for i, sample in enumerate(samples) if abs(sample) > 0.02 * peak]
    return [int(sample * 0.6 * 32767 / peak) for sample in samples[loud[0] : loud[-1] + 1]]


def main():
    samples, words = [0] * int(0.8 * RATE), []
    for voice, speed, phrase in PHRASES:
        for word in phrase.split():
            start = len(samples)
            samples += spoken("o" if word == "oh" else word, voice, speed)
            words.append({"word": word, "start": round(start / RATE, 3), "end": round(len(samples) / RATE, 3)})
            samples += [0] * int(GAP * RATE)
        samples += [0] * int(PAUSE * RATE)
    with tempfile.NamedTemporaryFile(suffix=".wav") as raw:
        with wave.open(raw.name, "w") as file:
            file.setnchannels(1), file.setsampwidth(2), file.setframerate(RATE)
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", raw.name, "-map_metadata", "-1", "-fflags", "+bitexact",
                        "-compression_level", "12", str(HERE / "story.flac")], check=True)
    (HERE / "story.json").write_text(json.dumps(words, indent=None) + "\n")
    print(f"{len(samples) / RATE:.1f} s, {len(words)} words")


main()
