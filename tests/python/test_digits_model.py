"""The bundled model is an ordinary Whisper checkpoint: transformers and faster-whisper read the same words from it as rechka."""

import json
import os
import subprocess
import wave
from pathlib import Path

import numpy
import pytest
from ctranslate2.converters import TransformersConverter
from faster_whisper import WhisperModel
from faster_whisper.audio import decode_audio
from transformers import WhisperForConditionalGeneration, WhisperProcessor

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "digits"
STORY = ROOT / "crates" / "rechka" / "story"
RATE = 16_000


@pytest.fixture(scope="module")
def phrases():
    """The story's phrases: words, and samples with a little silence around."""
    words = json.loads((STORY / "story.json").read_text())
    samples = decode_audio(str(STORY / "story.flac"), sampling_rate=RATE)
    groups = [[words[0]]]
    for before, word in zip(words, words[1:]):
        if word["start"] - before["end"] > 0.5:
            groups.append([])
        groups[-1].append(word)
    margin = 0.3
    return [
        (
            " ".join(word["word"] for word in group),
            samples[int((group[0]["start"] - margin) * RATE) : int((group[-1]["end"] + margin) * RATE)],
        )
        for group in groups
    ]


@pytest.fixture(scope="module")
def by_transformers(phrases):
    processor = WhisperProcessor.from_pretrained(MODEL)
    model = WhisperForConditionalGeneration.from_pretrained(MODEL)
    texts = []
    for _, samples in phrases:
        features = processor(samples, sampling_rate=RATE, return_tensors="pt").input_features
        tokens = model.generate(features)
        texts.append(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip())
    return texts


def word_errors(spoken, heard):
    """Fewest words to change, insert or delete (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(spoken, 1):
        diagonal, row[0] = row[0], count
        for place, other in enumerate(heard, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1]


def test_transformers_reads_the_words_that_were_spoken(phrases, by_transformers):
    spoken = " ".join(text for text, _ in phrases).split()
    heard = " ".join(by_transformers).split()
    assert word_errors(spoken, heard) <= 0.1 * len(spoken), f"said {spoken}, read {heard}"


def test_faster_whisper_gives_the_same_text(phrases, by_transformers, tmp_path):
    converted = tmp_path / "converted"
    copied = [name for name in ("tokenizer.json", "preprocessor_config.json") if (MODEL / name).exists()]
    TransformersConverter(str(MODEL), copy_files=copied).convert(str(converted))
    model = WhisperModel(str(converted), device="cpu", compute_type="float32", cpu_threads=2)
    texts = []
    for _, samples in phrases:
        segments, _ = model.transcribe(numpy.asarray(samples), without_timestamps=True, beam_size=1)
        texts.append("".join(segment.text for segment in segments).strip())
    assert texts == by_transformers


def test_rechka_gives_the_same_text(phrases, by_transformers, tmp_path):
    files = []
    for number, (_, samples) in enumerate(phrases):
        files.append(tmp_path / f"{number:02}.wav")
        with wave.open(str(files[-1]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
    subprocess.run([os.environ["RECHKA_BIN"], "transcribe", "-o", tmp_path, *files], check=True)
    texts = [path.with_suffix(".txt").read_text().strip() for path in files]
    assert texts == by_transformers
