"""Whisper (Radford et al. 2022, section 2.2) with the parameter names of the Hugging Face layout.

It differs from the original only in training: windows of any length, padding stood for by a
sample of its positions, a frame classifier on the encoder, and attention that can be read out.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

import tokenizer
from data import MOST

WIDTH, HEADS, ENCODER_LAYERS, DECODER_LAYERS = 144, 3, 4, 2
POSITIONS, TEXT_POSITIONS = 1500, 448
ALIGNED_HEAD = 0  # the head of every decoder layer that is taught to follow the words


def sinusoids(length, width):
    """Whisper's fixed encoder positions."""
    steps = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * steps[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    """Multi-head attention; the key projection has no bias, as in Whisper."""

    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, WIDTH)
        self.k_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_proj = nn.Linear(WIDTH, WIDTH)
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, source, bias=None, causal=False, read=False):
        """`bias` is added to the logits; with `read`, one head's log-attention comes back too."""
        split = lambda t: t.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        q, k, v = split(self.q_proj(x)), split(self.k_proj(source)), split(self.v_proj(source))
        mask = None if bias is None else bias.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        y = self.out_proj(y.transpose(1, 2).flatten(2))
        if not read:
            return y, None
        head = slice(ALIGNED_HEAD, ALIGNED_HEAD + 1)
        logits = (q[:, head] @ k[:, head].transpose(2, 3)).float() / math.sqrt(q.shape[-1])
        return y, F.log_softmax(logits if bias is None else logits + bias, dim=-1)[:, 0]


class Layer(nn.Module):
    """One pre-norm transformer layer, with cross-attention in the decoder."""

    def __init__(self, cross):
        super().__init__()
        self.self_attn = Attention()
        self.self_attn_layer_norm = nn.LayerNorm(WIDTH)
        if cross:
            self.encoder_attn = Attention()
            self.encoder_attn_layer_norm = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, x, bias=None, source=None, drop=0.0):
        """Encoder layer, or decoder layer when there is a source; `bias` concerns the source."""
        attention = None
        y = self.self_attn_layer_norm(x)
        y, _ = self.self_attn(y, y, None if source is not None else bias, source is not None)
        x = x + F.dropout(y, drop, self.training)
        if source is not None:
            y = self.encoder_attn_layer_norm(x)
            y, attention = self.encoder_attn(y, source, bias, read=True)
            x = x + F.dropout(y, drop, self.training)
        y = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + F.dropout(y, drop, self.training), attention


class Encoder(nn.Module):
    """Two convolutions and the encoder layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(80, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(POSITIONS, WIDTH)
        self.embed_positions.weight = nn.Parameter(sinusoids(POSITIONS, WIDTH), requires_grad=False)
        self.layers = nn.ModuleList(Layer(cross=False) for _ in range(ENCODER_LAYERS))
        self.layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, mel, offset=0, pads=None, drop=0.0):
        """Encodes `mel` [batch, 80, frames] at positions from `offset`.

        With `pads`, a tensor of positions after the window's end, the last but one output of the
        convolutions (padding) is repeated there, and stands for all positions up to `POSITIONS`.
        Returns the encoding and the bias on attention to each position.
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        length, bias = x.shape[1], None
        where = torch.arange(offset, offset + length)
        if pads is not None:
            x = torch.cat([x, x[:, -2:-1].expand(-1, len(pads), -1)], dim=1)
            where = torch.cat([where, pads])
            bias = torch.zeros(1, 1, 1, len(where))
            bias[..., length:] = math.log((POSITIONS - offset - length) / len(pads))
        x = F.dropout(x + self.embed_positions.weight[where], drop, self.training)
        for layer in self.layers:
            x, _ = layer(x, bias, drop=drop)
        return self.layer_norm(x), bias


class Decoder(nn.Module):
    """The text decoder; its output shares the token embedding."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(tokenizer.SIZE, WIDTH)
        self.embed_positions = nn.Embedding(TEXT_POSITIONS, WIDTH)
        self.layers = nn.ModuleList(Layer(cross=True) for _ in range(DECODER_LAYERS))
        self.layer_norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        with torch.no_grad():  # neighbours in time and place begin as neighbours
            self.embed_tokens.weight[tokenizer.FIRST_TIMESTAMP:] += (
                0.05 * sinusoids(tokenizer.TIMESTAMPS, WIDTH))
            self.embed_positions.weight.copy_(0.1 * sinusoids(TEXT_POSITIONS, WIDTH))

    def forward(self, tokens, source, bias=None, drop=0.0):
        """Logits [batch, tokens, vocabulary] and the aligned heads' log-attention per layer."""
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        x = F.dropout(x, drop, self.training)
        attentions = []
        for layer in self.layers:
            x, attention = layer(x, bias, source, drop)
            attentions.append(attention)
        return self.layer_norm(x) @ self.embed_tokens.weight.T, attentions


class Whisper(nn.Module):
    """Encoder and decoder, and two classifiers of encoder positions that are dropped at export.

    `words` tells which word is being said and `counts` how many were begun: the decoder finds the
    next word by its number, and learns it only slowly when the encoder isn't taught to count.
    """

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({"encoder": Encoder(), "decoder": Decoder()})
        self.words = nn.Linear(WIDTH, len(tokenizer.WORD_IDS) + 1)
        self.counts = nn.Linear(WIDTH, MOST)

    @property
    def encoder(self):
        """The encoder."""
        return self.model["encoder"]

    @property
    def decoder(self):
        """The decoder."""
        return self.model["decoder"]
