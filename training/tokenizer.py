"""The vocabulary: bytes, digit words and Whisper's special tokens, in Whisper's order."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

from speak import WORDS

TIMESTAMPS = 1501  # 0.00 to 30.00 seconds in steps of 20 ms


def byte_pair_vocabulary():
    """Tokens and merges of a byte-level BPE that has exactly the words as its units."""
    tokens = list(bytes_to_unicode().values())
    merges = []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            pair = (word[: end - 1], word[end - 1])
            if pair not in merges:
                merges.append(pair)
    merges += [("Ġ", word) for word in WORDS]
    tokens += [left + right for left, right in merges]
    return {token: i for i, token in enumerate(tokens)}, merges


VOCABULARY, MERGES = byte_pair_vocabulary()
WORD_IDS = [VOCABULARY["Ġ" + word] for word in WORDS]
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>",
           "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
END, START, _, _, _, _, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = range(
    len(VOCABULARY), len(VOCABULARY) + len(SPECIAL))
FIRST_TIMESTAMP = NO_TIMESTAMPS + 1
SIZE = FIRST_TIMESTAMP + TIMESTAMPS


def save(folder):
    """Writes the files from which transformers and faster-whisper load the tokenizer."""
    folder = Path(folder)
    timestamps = [f"<|{i * 0.02:.2f}|>" for i in range(TIMESTAMPS)]
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    tokenizer.add_special_tokens([AddedToken(t, special=True, **plain) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, **plain) for t in timestamps])
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "vocab.json", VOCABULARY)
    merges = ["#version: 0.2"] + [" ".join(pair) for pair in MERGES]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    added = SPECIAL + timestamps
    end = SPECIAL[0]
    write(folder / "added_tokens.json", {t: len(VOCABULARY) + i for i, t in enumerate(added)})
    write(folder / "special_tokens_map.json", {
        "additional_special_tokens": SPECIAL[1:], "bos_token": end, "eos_token": end,
        "pad_token": end, "unk_token": end})
    write(folder / "tokenizer_config.json", {
        "tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor",
        "add_prefix_space": False, "model_max_length": 448, "errors": "replace",
        "bos_token": end, "eos_token": end, "pad_token": end, "unk_token": end,
        "additional_special_tokens": SPECIAL[1:],
        "added_tokens_decoder": {
            str(len(VOCABULARY) + i): {"content": t, "special": i < len(SPECIAL), **plain}
            for i, t in enumerate(added)}})


def write(path, value):
    """Writes JSON as the Hugging Face files do."""
    Path(path).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
