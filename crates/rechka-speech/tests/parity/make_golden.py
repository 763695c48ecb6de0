#!/usr/bin/env python3
"""Random Whisper checkpoints and what the reference implementation makes of them.

    pip install torch transformers safetensors
    python make_golden.py                      # the small cases beside this script, committed
    python make_golden.py --size base -o DIR   # a full-size random checkpoint with its goldens, on demand

Every case is a checkpoint in the Hugging Face layout with `golden.json` (tokens, times, settings) and
`golden.safetensors` (spectrograms, encoder output, logits, attention), all computed in float32 from the stored weights:

    mel.N              [frames, bins]: the frames of clip N's spectrogram that hear it; `silence` in the JSON is the rest
    encoder.N          [positions, d]: clip N padded to the full window
    encoder_short.N    [positions, d]: clip N's frames alone, positional embedding sliced
                       (of these three only every `stride`th row)
    logits.N           [tokens, vocab]: teacher-forced over `teacher_tokens`
    alignment.N        [heads, tokens, positions]: cross-attention of the alignment heads, cropped to the audio
    language_logits.N  [languages], in the order of `languages`
"""
import argparse
import json
import math
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
    WhisperTokenizerFast,
)
from transformers.models.whisper.tokenization_whisper import _combine_tokens_into_words

HERE = pathlib.Path(__file__).parent
RATE = 16000
NEW_TOKENS = 24
LANGUAGES = ["en", "de", "ru", "ja"]
CORPUS = [
    "one two three four five six seven eight nine zero",
    "the small river runs to the sea, and the sea is never full",
    "und noch ein Satz über Grüße; речка течёт, 小さな川が流れる",
]
TEXTS = [
    (" One, two (three) four-five. \"Six!\" Seven?", "english"),
    (" und noch ein Satz über Grüße;", "german"),
    (" речка течёт, и море не полно", "russian"),
    ("小さな川が流れる。", "japanese"),
]

CASES = {
    "multilingual": dict(mels=80, d=32, heads=4, layers=(2, 2), dtype=torch.float32, languages=LANGUAGES, seconds=6),
    "english": dict(mels=80, d=36, heads=2, layers=(2, 1), dtype=torch.float16, languages=None, seconds=6),
    "large": dict(mels=128, d=64, heads=1, layers=(1, 2), dtype=torch.bfloat16, languages=LANGUAGES, seconds=6, shard="150KB"),
}
SIZES = {
    "tiny": dict(mels=80, d=384, heads=6, layers=(4, 4), vocab=51865),
    "base": dict(mels=80, d=512, heads=8, layers=(6, 6), vocab=51865),
    "small": dict(mels=80, d=768, heads=12, layers=(12, 12), vocab=51865),
}


def clips(seconds):
    """Harmonic sweeps with pauses and a little noise: loud and silent frames, all bands."""
    rng = np.random.default_rng(7)
    out = []
    for length, base in seconds:
        t = np.arange(int(length * RATE)) / RATE
        pitch = base * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * t))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        voice = sum(np.sin(k * phase) / k for k in range(1, 12))
        envelope = np.clip(np.sin(2 * np.pi * 1.9 * t), 0, None)
        audio = 0.2 * voice * envelope + 0.003 * rng.standard_normal(len(t))
        out.append(np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16))
    return out


def tokenizer(seconds, languages, path):
    """A byte-level vocabulary with Whisper's special tokens after it, in Whisper's order."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(CORPUS, vocab_size=300, min_frequency=1, show_progress=False)
    bpe.save_model(str(path))
    slow = WhisperTokenizer(str(path / "vocab.json"), str(path / "merges.txt"))
    stamps = [f"<|{i * 0.02:.2f}|>" for i in range(seconds * 50 + 1)]
    special = ["<|startoftranscript|>"]
    special += [f"<|{code}|>" for code in LANGUAGES]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    slow.add_special_tokens({"additional_special_tokens": special})
    slow.add_tokens(stamps, special_tokens=False)
    slow.save_pretrained(path)
    fast = WhisperTokenizerFast.from_pretrained(path)
    fast.save_pretrained(path)
    for name in ["special_tokens_map.json", "added_tokens.json", "normalizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"]:
        (path / name).unlink(missing_ok=True)
    return fast


def randomise(model, seed, eos):
    """Weights large enough that logits vary, and that both the past and the audio decide the next token."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, std):
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * std)

    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "encoder.embed_positions" in name:
                continue
            if "layer_norm" in name:
                normal(tensor, 0.1)
                if name.endswith("weight"):
                    tensor += 1
                    if name == "model.decoder.layer_norm.weight":
                        # Random signs, or a token would always predict itself through the tied embedding.
                        tensor *= torch.sign(torch.randn(tensor.shape, generator=generator))
            elif "embed_tokens" in name:
                normal(tensor, 3 / math.sqrt(tensor.shape[1]))
                tensor[eos] *= 1.8
            elif "embed_positions" in name:
                normal(tensor, 1.5)
            elif name.endswith("bias"):
                normal(tensor, 0.1)
            else:
                fan_in = tensor[0].numel()
                gain = 2.0 if "encoder_attn" in name or "fc" in name or "conv" in name else 1.0
                normal(tensor, gain / math.sqrt(fan_in))
    model.proj_out.weight = model.model.decoder.embed_tokens.weight
    return model


def build(case, seed, path):
    """Writes the checkpoint of `case` into `path`; returns the model in float32, from what was stored."""
    path.mkdir(parents=True, exist_ok=True)
    languages = case["languages"]
    tok = tokenizer(case["seconds"], languages, path)
    ids = {name: tok.convert_tokens_to_ids(f"<|{name}|>") for name in
           ["startoftranscript", "translate", "transcribe", "startofprev", "nospeech", "notimestamps", "endoftext"]}
    vocab = case.get("vocab", len(tok))
    space, exclamation = tok.encode(" ", add_special_tokens=False)[0], tok.encode("!", add_special_tokens=False)[0]
    suppress = sorted([exclamation, ids["startoftranscript"], ids["translate"], ids["transcribe"],
                       ids["startofprev"], ids["nospeech"]] +
                      [tok.convert_tokens_to_ids(f"<|{code}|>") for code in LANGUAGES])
    d = case["d"]
    config = WhisperConfig(
        vocab_size=vocab, num_mel_bins=case["mels"], d_model=d,
        encoder_layers=case["layers"][0], decoder_layers=case["layers"][1],
        encoder_attention_heads=case["heads"], decoder_attention_heads=case["heads"],
        encoder_ffn_dim=4 * d, decoder_ffn_dim=4 * d,
        max_source_positions=case["seconds"] * 50, max_target_positions=case.get("target", 64),
        decoder_start_token_id=ids["startoftranscript"], bos_token_id=ids["endoftext"],
        eos_token_id=ids["endoftext"], pad_token_id=ids["endoftext"],
        suppress_tokens=suppress, begin_suppress_tokens=[space, ids["endoftext"]],
    )
    model = randomise(WhisperForConditionalGeneration(config), seed, ids["endoftext"])
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    generation = dict(
        bos_token_id=ids["endoftext"], eos_token_id=ids["endoftext"], pad_token_id=ids["endoftext"],
        decoder_start_token_id=ids["startoftranscript"], prev_sot_token_id=ids["startofprev"],
        no_timestamps_token_id=ids["notimestamps"], is_multilingual=languages is not None,
        max_initial_timestamp_index=50, max_length=config.max_target_positions, return_timestamps=False,
        suppress_tokens=suppress, begin_suppress_tokens=[space, ids["endoftext"]],
        alignment_heads=[[layers - 1, 0]] + ([[0, heads - 1]] if layers * heads > 1 else []),
    )
    if languages:
        generation["lang_to_id"] = {f"<|{code}|>": tok.convert_tokens_to_ids(f"<|{code}|>") for code in languages}
        generation["task_to_id"] = {"transcribe": ids["transcribe"], "translate": ids["translate"]}
    model.generation_config = GenerationConfig(**generation)
    model.config.suppress_tokens = model.config.begin_suppress_tokens = None
    model.to(case["dtype"]).save_pretrained(path, max_shard_size=case.get("shard", "5GB"))
    features = WhisperFeatureExtractor(feature_size=case["mels"], chunk_length=case["seconds"])
    features.save_pretrained(path)
    model = WhisperForConditionalGeneration.from_pretrained(path, torch_dtype=torch.float32, attn_implementation="eager")
    return model.eval(), tok, features, ids


def encode_short(model, mel):
    """The encoder over the frames that are there, its positional embedding sliced."""
    encoder = model.model.encoder
    x = torch.nn.functional.gelu(encoder.conv1(mel))
    x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        x = layer(x, None, None)[0]
    return encoder.layer_norm(x)


@torch.no_grad()
def goldens(model, tok, features, ids, languages, audio, stride):
    """What the reference makes of `audio`: the JSON part, the tensors, and the smallest margin of a greedy choice."""
    tensors, results, margin = {}, [], float("inf")
    config = model.config
    prompt = [ids["startoftranscript"]]
    if languages:
        prompt += [tok.convert_tokens_to_ids("<|en|>"), ids["transcribe"]]
    for n, clip in enumerate(audio):
        samples = clip.astype(np.float32) / 32768
        inputs = features(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        mel, mask = inputs.input_features, inputs.attention_mask
        frames = min((len(samples) + 200 + 159) // 160, mel.shape[-1])
        tensors[f"mel.{n}"] = mel[0, :, :frames:stride].T.contiguous()
        tail = mel[0, :, frames:]
        assert (tail == tail[0, 0]).all()
        encoder = model.model.encoder(mel).last_hidden_state
        tensors[f"encoder.{n}"] = encoder[0, ::stride].contiguous()
        tensors[f"encoder_short.{n}"] = encode_short(model, mel[:, :, :frames])[0, ::stride].contiguous()

        # One window is one call: random text is full of times, from which generate would go on to further windows.
        common = dict(attention_mask=mask, max_new_tokens=NEW_TOKENS, return_dict_in_generate=True, output_scores=True,
                      do_sample=False, force_unique_generate_call=True)
        if languages:
            common |= dict(language="en", task="transcribe")
        runs = {}
        for name, options in {
            "greedy": dict(return_timestamps=False),
            "greedy_timestamps": dict(return_timestamps=True),
            "beam": dict(return_timestamps=False, num_beams=5),
            "beam_timestamps": dict(return_timestamps=True, num_beams=5),
        }.items():
            run = model.generate(mel, **common, **options)
            run = run["segments"][0][0]["result"] if isinstance(run, dict) and "segments" in run else run
            sequence = (run["sequences"] if run["sequences"].dim() == 1 else run["sequences"][0]).tolist()
            start = prompt + ([] if options["return_timestamps"] else [ids["notimestamps"]])
            assert sequence[: len(start)] == start, sequence
            runs[name] = sequence[len(start) :]
            if name.startswith("greedy"):
                for scores in run["scores"]:
                    top = scores.flatten().topk(2).values
                    margin = min(margin, (top[0] - top[1]).item())
        timed = model.generate(mel, **(common | dict(return_timestamps=False, return_token_timestamps=True)))
        timed = timed["segments"][0][0]["result"] if "segments" in timed else timed
        times = timed["token_timestamps"]
        times = (times if times.dim() == 1 else times[0]).tolist()

        text = [t for t in runs["greedy"] if t < ids["endoftext"]]
        teacher = prompt + [ids["notimestamps"]] + text
        out = model(encoder_outputs=(encoder,), decoder_input_ids=torch.tensor([teacher]), output_attentions=True)
        tensors[f"logits.{n}"] = out.logits[0].contiguous()
        positions = int(mask.sum()) // 2
        tensors[f"alignment.{n}"] = torch.stack(
            [out.cross_attentions[layer][0, head, :, :positions] for layer, head in model.generation_config.alignment_heads]
        ).contiguous()
        first = model(encoder_outputs=(encoder,), decoder_input_ids=torch.tensor([[ids["startoftranscript"]]])).logits[0, 0]
        result = dict(
            samples=len(samples), frames=frames, audio_positions=positions, silence=tail[0, 0].item(),
            teacher_tokens=teacher, runs=runs, token_timestamps=times,
            no_speech_prob=first.softmax(-1)[ids["nospeech"]].item(),
        )
        if languages:
            codes = [tok.convert_tokens_to_ids(f"<|{code}|>") for code in languages]
            tensors[f"language_logits.{n}"] = first[codes].contiguous()
            result["language_probs"] = dict(zip(languages, first[codes].softmax(-1).tolist()))
        results.append(result)
    splits = []
    for text, language in TEXTS:
        tokens = tok.encode(text, add_special_tokens=False)
        words, word_tokens, _ = _combine_tokens_into_words(tok, tokens, language)
        splits.append(dict(text=text, language=language, tokens=tokens, words=words, word_tokens=word_tokens))
    golden = dict(
        made_with=f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        prompt=prompt, languages=languages, stride=stride, max_new_tokens=NEW_TOKENS,
        beam=dict(num_beams=5, length_penalty=1.0, early_stopping=False), clips=results,
        splits=splits,
    )
    return golden, tensors, margin


@torch.no_grad()
def liveliness(model, features, ids, languages, audio):
    """How well the reference's tokens would show a mistake: varied, different per clip, one of them ending."""
    options = dict(language="en", task="transcribe") if languages else {}
    runs = []
    for clip in audio:
        mel = features(clip.astype(np.float32) / 32768, sampling_rate=RATE, return_tensors="pt").input_features
        runs.append(model.generate(mel, max_new_tokens=NEW_TOKENS, force_unique_generate_call=True, **options)[0].tolist())
    varied = min(len(set(run)) for run in runs)
    ended = any(4 < len(run) < NEW_TOKENS for run in runs)
    return (varied + 4 * ended) * (runs[0] != runs[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, help="one full-size random checkpoint instead of the small cases")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.size:
        cases = {arguments.size: dict(SIZES[arguments.size], dtype=torch.float32, languages=LANGUAGES, seconds=30, target=448)}
        audio, stride, tries = clips([(11.0, 130.0), (3.3, 210.0)]), 25, 1
    else:
        cases, audio, stride, tries = CASES, clips([(1.5, 130.0), (3.3, 210.0)]), 4, 10
    arguments.output.mkdir(parents=True, exist_ok=True)
    save_file({str(n): torch.from_numpy(clip) for n, clip in enumerate(audio)}, arguments.output / "audio.safetensors")
    for name, case in cases.items():
        path = arguments.output / name
        scores = {}
        for seed in range(tries if tries > 1 else 0):
            model, _, features, ids = build(case, seed, path)
            scores[seed] = liveliness(model, features, ids, case["languages"], audio)
            shutil.rmtree(path)
        for seed in sorted(scores, key=scores.get, reverse=True) or [0]:
            made = build(case, seed, path)
            golden, tensors, margin = goldens(*made, case["languages"], audio, stride)
            print(f"{name}: seed {seed}, liveliness {scores.get(seed)}, smallest margin {margin:.4f}", flush=True)
            if tries == 1 or margin > 0.002:
                break
            shutil.rmtree(path)
        (path / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
        save_file(tensors, path / "golden.safetensors")


if __name__ == "__main__":
    main()
