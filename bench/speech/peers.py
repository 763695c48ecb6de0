#!/usr/bin/env python3
"""Encoder, decoder and whole utterances beside faster-whisper (CTranslate2, int8) and whisper.cpp (8- and 16-bit weights): the same
checkpoints, machine and run.

    pip install faster-whisper torch transformers
    pip install --no-binary pywhispercpp pywhispercpp    # built here, so that it uses what this machine has; optional
    python crates/rechka-speech/tests/parity/make_golden.py --size base -o ../shared/data/whisper-random
    cargo build --release -p rechka-bench --bin speech
    python bench/speech/peers.py ../shared/data/whisper-random/base

Every figure is the least of many runs in milliseconds; in brackets the mean processor time of all threads, which can be
compared on a busy machine too. whisper.cpp's own clock gives means. Random weights: only times mean anything. Our encoder times include
the decoder's cross-attention keys and values, which CTranslate2 computes with the first token.

An utterance is 30 tokens long, greedy and un-padded (as Rechka does by default), or as faster-whisper does by default: padded to 30 s,
beam of 5. Nobody decodes a second time at a higher temperature, nor writes times: with random weights these would never end.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import ctranslate2
import numpy as np
from ctranslate2.converters import TransformersConverter
from faster_whisper import WhisperModel
from safetensors.numpy import load_file, save_file

SECONDS, TOKENS, BUDGET, FEW, MANY = 11, 30, 6.0, 2, 34
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


def sound():
    t = np.arange(SECONDS * 16000, dtype=np.float32) / 16000
    return (np.sin(t * 1200) * np.sin(t * 9) * 0.3 + np.sin(t * 3100) * 0.1).astype(np.float32)


def endless(folder, copy):
    """A copy of the checkpoint that does not end its texts: the token for that gets a score of 0, and others always do better."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    end_of_text = json.loads((folder / "config.json").read_text())["eos_token_id"]
    # whisper.cpp has a fixed one.
    weights["model.decoder.embed_tokens.weight"][[end_of_text, 50257]] = 0
    save_file(weights, copy / "model.safetensors")
    return copy


class Counted(WhisperModel):
    """Makes sure of the text's length."""

    def generate_with_fallback(self, *arguments):
        result = super().generate_with_fallback(*arguments)
        assert len(result[0].sequences_ids[0]) == TOKENS
        return result


def faster_whisper_times(folder, threads):
    config = json.loads((folder / "config.json").read_text())
    with tempfile.TemporaryDirectory() as converted:
        files = ["tokenizer.json", "preprocessor_config.json"]
        TransformersConverter(str(folder), copy_files=files).convert(converted, quantization="int8", force=True)
        whole = Counted(converted, compute_type="int8", cpu_threads=threads)
        model = whole.model
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

        def utterance():
            # The engine gives half of the prompt's two tokens and the new ones.
            segments, _ = whole.transcribe(sound(), language="en", temperature=0, without_timestamps=True,
                                           max_new_tokens=2 * TOKENS - 2, suppress_tokens=[-1, config["eos_token_id"]])
            list(segments)

        return dict(
            encode_full=least(lambda: encode(full)),
            encode_short=least(lambda: encode(short)),
            token_alone=token(short),
            token_alone_full=token(full),
            token_batch=token(short, batch=8),
            token_beam=token(short, beam=5),
            utterance_padded=least(utterance),
        )


def whisper_cpp_times(folder, threads, eight_bits):
    """Nothing if the package is not installed."""
    try:
        from pywhispercpp.model import Model
    except ImportError:
        return {}
    import ggml

    times = {}
    with tempfile.TemporaryDirectory() as converted:
        path = f"{converted}/model.bin"
        ggml.convert(folder, path, eight_bits)
        positions = 50 * SECONDS
        for length, beam, names in [(positions, 1, ("encode_short", "token_alone", "utterance")),
                                    (0, 1, ("encode_full", "token_alone_full", None)),
                                    (0, 5, (None, None, "utterance_padded"))]:
            search = dict(beam_search=dict(beam_size=beam, patience=-1)) if beam > 1 else {}
            model = Model(path, params_sampling_strategy=int(beam > 1), redirect_whispercpp_logs_to=None, n_threads=threads,
                          language="en", no_timestamps=True, single_segment=True, max_tokens=TOKENS, temperature_inc=0.0,
                          audio_ctx=length, print_progress=False, print_realtime=False, **search)
            whole = least(lambda: model.transcribe(sound()))
            printed = printed_by(model.print_timings)
            own = [float(re.search(rf"{part} time.*\( *([\d.]+) ms per run", printed)[1]) for part in ("encode", "decode")]
            for name, value in zip(names, [[own[0], None], [own[1], None], whole]):
                if name:
                    times[name] = value
    return times


def printed_by(run):
    """What C writes to standard error."""
    with tempfile.TemporaryFile("w+") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            run()
        finally:
            os.dup2(kept, 2)
        file.seek(0)
        return file.read()


NAMES = dict(
    encode_full="encoder, full window",
    encode_short=f"encoder, {SECONDS} s un-padded",
    token_alone=f"token alone, {SECONDS} s",
    token_alone_full="token alone, full window",
    token_batch="token, 8 sessions together",
    token_beam="token, beam of 5",
    utterance=f"{SECONDS} s to {TOKENS} tokens, un-padded, greedy",
    utterance_padded=f"{SECONDS} s to {TOKENS} tokens, padded, beam of 5",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/speech")
    arguments = parser.parse_args()
    print(f"| {arguments.threads} threads, ms wall (processor) | Rechka int8 | faster-whisper int8 | whisper.cpp 8 bits | whisper.cpp 16 bits |")
    print("|---|---|---|---|---|")
    for folder in arguments.folders:
        copies = tempfile.TemporaryDirectory()
        folder = endless(folder, pathlib.Path(copies.name) / folder.name)
        command = [str(arguments.binary), "--threads", str(arguments.threads), str(folder)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        peers = [faster_whisper_times(folder, arguments.threads), whisper_cpp_times(folder, arguments.threads, True),
                 whisper_cpp_times(folder, arguments.threads, False)]
        show = lambda times: "" if times is None else f"{times[0]:.2f}" + (f" ({times[1]:.2f})" if times[1] else "")
        for key, name in NAMES.items():
            cells = " | ".join(show(times.get(key)) for times in [ours, *peers])
            print(f"| {folder.name}: {name} | {cells} |", flush=True)
        print(f"| {folder.name}: spectrogram, {SECONDS} s | {show(ours['mel'])} | | | |")


if __name__ == "__main__":
    main()
