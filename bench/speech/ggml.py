"""Writes a Whisper checkpoint of the Hugging Face layout as whisper.cpp reads it: 16-bit weights, or 8-bit (`Q8_0`).

The format is whisper.cpp's own (`models/convert-h5-to-ggml.py`, `whisper_model_load`). The tokens' texts are made up: it is for timing.
"""
import json
import re
import struct

import numpy as np
from safetensors import safe_open
from transformers import WhisperFeatureExtractor

MAGIC, F32, F16, Q8_0, Q8_0_FILE, BLOCK = 0x67676D6C, 0, 1, 8, 2007, 32
TEXTS = 50257
NAMES = [
    (r"\.layers\.", ".blocks."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.self_attn\.", ".attn."),
    (r"self_attn_layer_norm", "attn_ln"),
    (r"encoder_attn_layer_norm", "cross_attn_ln"),
    (r"final_layer_norm", "mlp_ln"),
    (r"attn\.q_proj", "attn.query"),
    (r"attn\.k_proj", "attn.key"),
    (r"attn\.v_proj", "attn.value"),
    (r"attn\.out_proj", "attn.out"),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm", "encoder.ln_post"),
    (r"^decoder\.layer_norm", "decoder.ln"),
    (r"embed_positions\.weight", "positional_embedding"),
    (r"embed_tokens", "token_embedding"),
]


def q8_0(matrix):
    """Blocks of 32 values: a 16-bit scale and 8-bit values."""
    blocks = matrix.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    values = np.round(blocks / np.where(scale > 0, scale, 1)).astype(np.int8)
    return np.hstack([scale.astype(np.float16).view(np.int8), values]).tobytes()


def convert(folder, path, eight_bits):
    config = json.loads((folder / "config.json").read_text())
    sizes = ["vocab_size", "max_source_positions", "d_model", "encoder_attention_heads", "encoder_layers",
             "max_target_positions", "d_model", "decoder_attention_heads", "decoder_layers", "num_mel_bins"]
    filters = WhisperFeatureExtractor(feature_size=config["num_mel_bins"]).mel_filters.T.astype(np.float32)
    with open(path, "wb") as file, safe_open(folder / "model.safetensors", "np") as weights:
        file.write(struct.pack("12i", MAGIC, *(config[size] for size in sizes), Q8_0_FILE if eight_bits else F16))
        file.write(struct.pack("2i", *filters.shape) + filters.tobytes())
        file.write(struct.pack("i", TEXTS))
        for token in range(TEXTS):
            # It looks for a space, to suppress it at the beginning.
            text = f" {token or ''}".encode()
            file.write(struct.pack("i", len(text)) + text)
        for stored in weights.keys():
            name = stored.removeprefix("model.")
            if name == "proj_out.weight":
                continue
            data = weights.get_tensor(stored).astype(np.float32)
            for pattern, replacement in NAMES:
                name = re.sub(pattern, replacement, name)
            if re.search(r"conv.\.bias", name):
                data = data[:, None]
            if data.ndim < 2 or "positional" in name or name.endswith("bias"):
                kind, bits = F32, data.tobytes()
            elif eight_bits and data.ndim == 2:
                kind, bits = Q8_0, q8_0(data)
            else:
                kind, bits = F16, data.astype(np.float16).tobytes()
            encoded = name.encode()
            file.write(struct.pack("3i", data.ndim, len(encoded), kind))
            file.write(struct.pack(f"{data.ndim}i", *reversed(data.shape)) + encoded + bits)
