"""The audio tower on many clips at once, each row as it would be for its clip alone.

Masking is done here: the checkpoint's class pads clips into one batch and lets the padding through, which
is wrong for single clips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

REDUCTION = 8
REACH_ROWS = 12
IGNORED_BIAS = -10.0


def num_rows(frames: int) -> int:
    """Rows the tower makes of `frames` mel frames."""
    return math.ceil(frames / REDUCTION)


def pad_clips(features: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips [T, 80] of several lengths -> float32 [B, T, 80] and their lengths, int64 [B]."""
    clips = [torch.from_numpy(np.asarray(f, dtype=np.float32)) for f in features]
    return pad_sequence(clips, batch_first=True), torch.tensor([len(clip) for clip in clips])


def _valid(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Bool [B, size]: which positions belong to the clip."""
    return torch.arange(size)[None] < lengths[:, None]


def _stem(embed: nn.Module, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Strided convolutions, with zeros after the end of every clip at every level."""
    hidden = (features * _valid(lengths, features.shape[1])[..., None])[:, None]
    for layer in embed.conv:
        hidden = layer(hidden)
        if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
            lengths = (lengths + 1) // 2
        elif not isinstance(layer, nn.Conv2d):
            hidden = hidden * _valid(lengths, hidden.shape[2])[:, None, :, None]
    batch, _, rows, _ = hidden.shape
    return embed.out(hidden.transpose(1, 2).reshape(batch, rows, -1)), lengths


@torch.no_grad()
def balance_stem(embed: nn.Module, features: torch.Tensor) -> None:
    """Shift and scale every layer of the stem so that its outputs have mean 0 and deviation 1 on `features`.

    Without it rectified means grow from layer to layer until all rows look alike. In place.

    Args:
        embed: The stem, `encoder.embed`.
        features: float32 [B, T, 80], normalized, all of them speech.
    """
    hidden = features[:, None]
    for layer in embed.conv:
        after = layer(hidden)
        if isinstance(layer, nn.Conv2d):
            mean, deviation = after.mean((0, 2, 3)), after.std((0, 2, 3)) + 1e-5
            layer.weight /= deviation[:, None, None, None]
            layer.bias.copy_((layer.bias - mean) / deviation)
            after = layer(hidden)
        hidden = after
    batch, _, rows, _ = hidden.shape
    flat = hidden.transpose(1, 2).reshape(batch * rows, -1)
    out = embed.out(flat)
    embed.out.weight /= out.std(0)[:, None] + 1e-5
    embed.out.bias.copy_((embed.out.bias - out.mean(0)) / (out.std(0) + 1e-5))


@torch.no_grad()
def listen_locally(bias: nn.Embedding, reach: int = REACH_ROWS) -> None:
    """Start without preference among the rows within `reach` and ignore those beyond. In place.

    Attention over whole clips learns nothing about clips longer than those of training, and fails on them.

    Args:
        bias: `relative_attention_bias_layer.bias_values`, one row per distance, the middle one for 0.
        reach: Rows of 80 ms to either side.
    """
    distance = (torch.arange(bias.num_embeddings) - bias.num_embeddings // 2).abs()
    bias.weight.zero_()
    bias.weight[distance > reach] = IGNORED_BIAS


def encode_clips(
    encoder: nn.Module, features: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the tower.

    Args:
        encoder: `model.model.embed_tokens_extend.audio_embed.encoder`.
        features: float32 [B, T, 80] log-mel; anything after a clip's end is ignored.
        lengths: int64 [B] frames per clip.

    Returns:
        float32 [B, A, hidden] and the rows per clip, int64 [B]. Rows after the end are meaningless.
    """
    hidden, rows = _stem(encoder.embed, encoder.encoder_embedding(features), lengths)
    bias = encoder.relative_attention_bias_layer(hidden)
    heard = _valid(rows, hidden.shape[1])[:, None, None]
    mask = bias.masked_fill(~heard, torch.finfo(bias.dtype).min)
    for layer in encoder.encoders:
        hidden = layer(hidden, mask)
    return hidden, rows
