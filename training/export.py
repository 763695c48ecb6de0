"""Writes a checkpoint in the Hugging Face layout."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

import model as whisper
import tokenizer


def export(weights, folder, alignment_heads):
    """Writes `weights` (a state dictionary) and all configuration files into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in weights.items()
               if name.startswith("model.")}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(folder)
    ids = {"bos_token_id": tokenizer.END, "eos_token_id": tokenizer.END,
           "pad_token_id": tokenizer.END, "decoder_start_token_id": tokenizer.START}
    tokenizer.write(folder / "config.json", {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper",
        "torch_dtype": "float16", "vocab_size": tokenizer.SIZE, "num_mel_bins": 80,
        "d_model": whisper.WIDTH, "num_hidden_layers": whisper.ENCODER_LAYERS,
        "encoder_layers": whisper.ENCODER_LAYERS, "decoder_layers": whisper.DECODER_LAYERS,
        "encoder_attention_heads": whisper.HEADS, "decoder_attention_heads": whisper.HEADS,
        "encoder_ffn_dim": 4 * whisper.WIDTH, "decoder_ffn_dim": 4 * whisper.WIDTH,
        "max_source_positions": whisper.POSITIONS, "max_target_positions": whisper.TEXT_POSITIONS,
        "activation_function": "gelu", "scale_embedding": False, "is_encoder_decoder": True,
        "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "init_std": 0.02, "use_cache": True,
        "begin_suppress_tokens": [tokenizer.VOCABULARY["Ġ"]], "suppress_tokens": None,
        "forced_decoder_ids": None, **ids})
    tokenizer.write(folder / "generation_config.json", {
        "is_multilingual": False, "max_length": whisper.TEXT_POSITIONS, "return_timestamps": False,
        "no_timestamps_token_id": tokenizer.NO_TIMESTAMPS, "max_initial_timestamp_index": 50,
        "prev_sot_token_id": tokenizer.PREVIOUS, "alignment_heads": alignment_heads,
        "begin_suppress_tokens": [tokenizer.VOCABULARY["Ġ"]],
        "suppress_tokens": list(range(tokenizer.START, tokenizer.NO_TIMESTAMPS)),
        "forced_decoder_ids": None, **ids})
    tokenizer.write(folder / "preprocessor_config.json", {
        "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor",
        "feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400,
        "chunk_length": 30, "n_samples": 480000, "nb_max_frames": 3000, "padding_side": "right",
        "padding_value": 0.0, "return_attention_mask": False})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    options = parser.parse_args()
    weights = torch.load(options.checkpoint, weights_only=True)["model"]
    export(weights, options.folder, [[layer, whisper.ALIGNED_HEAD]
                                     for layer in range(whisper.DECODER_LAYERS)])


if __name__ == "__main__":
    main()
