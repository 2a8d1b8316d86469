"""Several questions about one prefix in one sequence: each reads the prefix and itself, never the others.

The outcome equals asking each question alone, but the prefix (a picture's rows) is read once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Branch:
    """One question: embeddings [S, hidden] of everything after the prefix, and int64 [S] ids to predict from each.

    `targets[i]` is the token after position i, IGNORE where nothing is learned.
    """

    embeds: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch for the decoder: embeds [B, S, hidden], mask bool [B, 1, S, S], positions and targets int64 [B, S]."""

    embeds: Tensor
    mask: Tensor
    positions: Tensor
    targets: Tensor


def pack(prefixes: list[Tensor], branches: list[list[Branch]]) -> Packed:
    """Lay every prefix [P, hidden] and its branches in a row, padded to the longest."""
    lengths = [len(p) + sum(len(b.targets) for b in group) for p, group in zip(prefixes, branches, strict=True)]
    size = max(lengths)
    segment = torch.full((len(prefixes), size), -1)
    positions = torch.zeros(len(prefixes), size, dtype=torch.long)
    targets = torch.full((len(prefixes), size), IGNORE)
    parts = []
    for i, (prefix, group) in enumerate(zip(prefixes, branches, strict=True)):
        at = len(prefix)
        segment[i, :at] = 0
        positions[i, :at] = torch.arange(at)
        for k, branch in enumerate(group, start=1):
            end = at + len(branch.targets)
            segment[i, at:end] = k
            positions[i, at:end] = len(prefix) + torch.arange(end - at)
            targets[i, at:end] = branch.targets
            at = end
        parts.append(nn.functional.pad(torch.cat([prefix, *(b.embeds for b in group)]), (0, 0, 0, size - at)))
    rows, columns = segment[:, :, None], segment[:, None, :]
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    mask = causal & ((columns == 0) | (rows == columns))
    return Packed(torch.stack(parts), mask[:, None], positions, targets)


def answer_loss(model: nn.Module, packed: Packed) -> tuple[Tensor, float]:
    """Mean cross-entropy of the answer tokens, and the share of them that is right."""
    hidden = model.model(
        inputs_embeds=packed.embeds, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
    ).last_hidden_state
    learned = packed.targets != IGNORE
    logits = model.lm_head(hidden[learned]).float()
    wanted = packed.targets[learned]
    return nn.functional.cross_entropy(logits, wanted), float((logits.argmax(-1) == wanted).float().mean())
