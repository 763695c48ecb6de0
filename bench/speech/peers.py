#!/usr/bin/env python3
"""Encoder and decoder times beside faster-whisper's engine (CTranslate2, int8), same checkpoints, same machine, same run.

    pip install faster-whisper torch transformers
    python crates/rechka-speech/tests/parity/make_golden.py --size base -o ../shared/data/whisper-random
    cargo build --release -p rechka-bench --bin speech
    python bench/speech/peers.py ../shared/data/whisper-random/base

Every figure is the least of many runs in milliseconds; in brackets the mean processor time of all threads, which can be
compared on a busy machine too. The ratio is theirs over ours. Random weights: only times mean anything. Our encoder times
include the decoder's cross-attention keys and values, which the other engine computes with the first token.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter

SECONDS, BUDGET, FEW, MANY = 11, 6.0, 2, 34
ROOT = pathlib.Path(__file__).resolve().parents[2]


def least(run):
    """Least wall time and mean processor time, milliseconds."""
    run()
    best, runs, start, processor = float("inf"), 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < BUDGET:
        one = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - one)
        runs += 1
    return [best * 1e3, (time.process_time() - processor) * 1e3 / runs]


def ctranslate2_times(folder, threads):
    config = json.loads((folder / "config.json").read_text())
    with tempfile.TemporaryDirectory() as converted:
        TransformersConverter(str(folder)).convert(converted, quantization="int8", force=True)
        model = ctranslate2.models.Whisper(converted, compute_type="int8", intra_threads=threads)
        rng = np.random.default_rng(0)
        full = rng.standard_normal((1, config["num_mel_bins"], 2 * config["max_source_positions"])).astype(np.float32)
        short = np.ascontiguousarray(full[:, :, : 100 * SECONDS])
        encode = lambda mel: model.encode(ctranslate2.StorageView.from_array(mel))
        start = json.loads((folder / "generation_config.json").read_text())["decoder_start_token_id"]

        def token(mel, batch=1, beam=1):
            """Per token and hypothesis: many tokens less few."""
            encoded = encode(np.repeat(mel, batch, 0))

            def generate(length):
                # The engine gives half of what `max_length` says.
                results = model.generate(encoded, [[start]] * batch, beam_size=beam, max_length=2 * length,
                                         suppress_blank=False, suppress_tokens=[config["eos_token_id"]])
                assert all(len(result.sequences_ids[0]) == length for result in results)

            few, many = least(lambda: generate(FEW)), least(lambda: generate(MANY))
            return [(b - a) / ((MANY - FEW) * batch * beam) for a, b in zip(few, many)]

        return dict(
            encode_full=least(lambda: encode(full)),
            encode_short=least(lambda: encode(short)),
            token_alone=token(short),
            token_alone_full=token(full),
            token_batch=token(short, batch=8),
            token_beam=token(short, beam=5),
        )


NAMES = dict(
    encode_full="encoder, full window",
    encode_short=f"encoder, {SECONDS} s un-padded",
    token_alone=f"token alone, {SECONDS} s",
    token_alone_full="token alone, full window",
    token_batch="token, 8 sessions together",
    token_beam="token, beam of 5",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/speech")
    arguments = parser.parse_args()
    print(f"| {arguments.threads} threads, ms wall (processor) | Rechka int8 | CTranslate2 {ctranslate2.__version__} int8 | ratio |")
    print("|---|---|---|---|")
    for folder in arguments.folders:
        command = [str(arguments.binary), "--threads", str(arguments.threads), str(folder)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        theirs = ctranslate2_times(folder, arguments.threads)
        for key, name in NAMES.items():
            (a, b), (c, d) = ours[key], theirs[key]
            print(f"| {folder.name}: {name} | {a:.2f} ({b:.2f}) | {c:.2f} ({d:.2f}) | {c / a:.2f} ({d / b:.2f}) |", flush=True)
        print(f"| {folder.name}: spectrogram, {SECONDS} s | {ours['mel'][0]:.2f} ({ours['mel'][1]:.2f}) | | |")


if __name__ == "__main__":
    main()
