"""Checks that transformers and faster-whisper (after conversion) give the same text."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import faster_whisper
import numpy as np
from transformers.utils import logging

import evaluate
from speak import WORDS


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
        subprocess.run(["ct2-transformers-converter", "--model", options.folder, "--output_dir",
                        converted, "--copy_files", "tokenizer.json", "preprocessor_config.json"],
                       check=True)
        model = faster_whisper.WhisperModel(converted, device="cpu", compute_type="float32",
                                            cpu_threads=1)
        same = {"greedy": 0, "defaults": 0}
        for expected, sound, _ in windows:
            reference = [WORDS[w] for w in recogniser.padded(sound)]
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
    sys.exit(same["greedy"] < len(windows))


if __name__ == "__main__":
    main()
