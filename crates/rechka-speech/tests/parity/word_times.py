#!/usr/bin/env python3
"""When tokens begin, as the reference implementation's parts have it: `word_times.json` beside each checkpoint of
`make_golden.py`.

    pip install torch transformers safetensors
    python make_golden.py && python word_times.py
    python make_golden.py --size tiny -o DIR && python word_times.py DIR

The method is that of OpenAI's `timing.py`, which transformers takes its median filter and its dynamic time warping from:
teacher-force the text without timestamps, softmax over the frames of audio alone, normalise over all tokens, and read a
token's time from the row of the token *before* it, which is where the model listens to predict it. transformers'
`return_token_timestamps` takes the row of the token itself, one token late.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter

FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
STEP = 0.02


@torch.no_grad()
def begins(model, encoder, control, text, frames):
    """The second at which each token of `text` begins, and at which the text ends."""
    tokens = control + text + [model.generation_config.eos_token_id]
    out = model(encoder_outputs=(encoder,), decoder_input_ids=torch.tensor([tokens]), output_attentions=True)
    heads = model.generation_config.alignment_heads
    weights = torch.stack([out.cross_attentions[layer][0, head, :, :frames] for layer, head in heads])
    weights = weights / weights.sum(-1, keepdim=True)
    deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    weights = _median_filter((weights - mean) / deviation, model.config.median_filter_width).mean(0)
    rows, times = _dynamic_time_warping(-weights[len(control) - 1 : -1].double().numpy())
    jumps = np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)
    return (times[jumps] * STEP).round(2).tolist()


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    clips = load_file(FOLDER / "audio.safetensors")
    for path in sorted(FOLDER.glob("*/golden.json")):
        golden, folder = json.loads(path.read_text()), path.parent
        model = WhisperForConditionalGeneration.from_pretrained(
            folder, torch_dtype=torch.float32, attn_implementation="eager"
        ).eval()
        features = WhisperFeatureExtractor.from_pretrained(folder)
        control = golden["prompt"] + [model.generation_config.no_timestamps_token_id]
        results = []
        for clip in range(len(clips)):
            samples = clips[str(clip)].float().numpy() / 32768
            inputs = features(samples, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
            encoder = model.model.encoder(inputs.input_features).last_hidden_state
            frames = int(inputs.attention_mask.sum()) // 2
            for split in golden["splits"]:
                times = begins(model, encoder, control, split["tokens"], frames)
                results.append(dict(clip=clip, tokens=split["tokens"], begins=times))
        (folder / "word_times.json").write_text(json.dumps(results) + "\n")
        print(folder.name, [result["begins"][:8] for result in results], flush=True)


if __name__ == "__main__":
    main()
