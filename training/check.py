"""Compares the text of transformers and of faster-whisper, after its own conversion.

Given the same features the converted model must write the same. From sound, faster-whisper pads
with zeros and transformers with silence, so that words the model is unsure of can differ: these
are counted and shown.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import ctranslate2
import faster_whisper
import numpy as np
from transformers.utils import logging

import evaluate
import tokenizer
from speak import WORDS


def converted_words(model, features):
    """Words of the converted model for the features that transformers saw, greedily."""
    view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features))
    prompt = [tokenizer.START, tokenizer.NO_TIMESTAMPS]
    made = model.model.generate(view, [prompt], beam_size=1)[0].sequences_ids[0]
    return [WORDS[tokenizer.WORD_IDS.index(token)] for token in made if token in tokenizer.WORD_IDS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the model")
    parser.add_argument("--work", type=Path, default=Path("work"))
    options = parser.parse_args()
    logging.set_verbosity_error()
    rng = np.random.default_rng(3)
    windows = []
    for items in evaluate.recordings(options.work / "held-out.npy").values():
        windows += evaluate.strings(rng, items, 4)
    windows += [([], sound[: 20 * evaluate.RATE], []) for sound in evaluate.noises(rng).values()]
    recogniser = evaluate.Recogniser(options.folder)
    with tempfile.TemporaryDirectory() as folder:
        converted = str(Path(folder, "model"))
        converter = Path(sys.executable).with_name("ct2-transformers-converter")
        subprocess.run([converter, "--model", options.folder, "--output_dir",
                        converted, "--copy_files", "tokenizer.json", "preprocessor_config.json"],
                       check=True)
        model = faster_whisper.WhisperModel(converted, device="cpu", compute_type="float32",
                                            cpu_threads=1)
        same = {"same features": 0, "greedy": 0, "defaults": 0}
        for expected, sound, _ in windows:
            reference = [WORDS[w] for w in recogniser.padded(sound)]
            features = recogniser.processor(sound, sampling_rate=evaluate.RATE,
                                            return_tensors="np").input_features
            same["same features"] += converted_words(model, features) == reference
            for name, settings in (("greedy", {"beam_size": 1, "without_timestamps": True,
                                               "temperature": 0}), ("defaults", {})):
                segments, _ = model.transcribe(sound, **settings)
                words = " ".join(s.text for s in segments).split()
                same[name] += words == reference
                if words != reference:
                    print(f"{name}: spoken {[WORDS[w] for w in expected]}, transformers "
                          f"{reference}, faster-whisper {words}")
    for name, count in same.items():
        print(f"faster-whisper, {name}: same text in {count} of {len(windows)} windows")
    sys.exit(same["same features"] < len(windows))


if __name__ == "__main__":
    main()
