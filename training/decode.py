"""Greedy decoding with the training model, for a quick look during training."""

import torch

import features
import tokenizer


@torch.no_grad()
def transcribe(model, sound, longest=14):
    """The words of each window of `sound` [batch, samples], without times."""
    source, _ = model.encoder(features.log_mel(sound))
    tokens = torch.tensor([[tokenizer.START, tokenizer.NO_TIMESTAMPS]]).repeat(len(sound), 1)
    for _ in range(longest):
        logits, _ = model.decoder(tokens, source)
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    texts = []
    for row in tokens[:, 2:].tolist():
        row = row[: row.index(tokenizer.END)] if tokenizer.END in row else row
        texts.append([tokenizer.WORD_IDS.index(t) if t in tokenizer.WORD_IDS else -1 for t in row])
    return texts


def word_errors(reference, hypothesis):
    """Levenshtein distance between two lists of words."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, given in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1,
                                           previous + (expected != given))
    return row[-1]
