"""Starts the image projector: each labelled cell is projected near the embeddings of the words that name it.

The decoder already copies and answers from words, so the adapter has little left to learn.
"""

from __future__ import annotations

import random

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalImageEmbedding

from edgephi_nano.picture_rows import project
from edgephi_nano.pictures import COLOURS, GLYPHS
from edgephi_nano.scenes import compose
from edgephi_nano.sight import WIDTH, pooled_features
from edgephi_nano.views import HEADS, IGNORE, KINDS, training_view

SCENES = ("word", "letters", "number", "shape", "labelled", "bars")
VIEWS, STEPS, RATE = 4000, 3000, 2e-3
FILLER = "."  # what a cell that shows nothing says, quietly


def word_rows(table: Tensor, tokenizer: Tokenizer, words: tuple[str, ...]) -> Tensor:
    """float32 [len(words), hidden]: the mean embedding of each word's tokens."""
    ids = [tokenizer.encode(word, add_special_tokens=False).ids for word in words]
    return torch.stack([table[tokens].mean(0) for tokens in ids]).detach().float()


def cell_targets(labels: Tensor, table: Tensor, tokenizer: Tokenizer) -> Tensor:
    """What each cell should say.

    Args:
        labels: int64 [N, len(HEADS)], one row per cell.
        table: float32 [V, hidden], the decoder's token embeddings.
        tokenizer: Gives the tokens of a word.

    Returns:
        float32 [N, hidden]: name, plus colour, plus faint codes of its place from the left and from the right.
    """
    names = {name: labels[:, i] for i, name in enumerate(HEADS)}
    norm = float(table.norm(dim=1).mean())
    dice = torch.Generator().manual_seed(5)
    codes = norm * 0.5 * nn.functional.normalize(torch.randn(16, table.shape[1], generator=dice), dim=1)
    filler = 0.3 * word_rows(table, tokenizer, (FILLER,))
    glyphs = torch.cat((filler, word_rows(table, tokenizer, tuple(GLYPHS))))
    kinds = torch.cat((torch.zeros_like(filler), word_rows(table, tokenizer, KINDS[1:])))
    colours = word_rows(table, tokenizer, tuple(COLOURS))
    out = glyphs[names["glyph"].clamp(min=0)] + kinds[names["kind"].clamp(min=0)]
    for name, rows, first in (("colour", colours, 0), ("order", codes, 0), ("left", codes, 8)):
        known = names[name] >= 0
        out[known] += rows[first + names[name][known]]
    return out


@torch.no_grad()
def sample_cells(image_embed: Phi4MultimodalImageEmbedding, views: int, seed: int) -> tuple[Tensor, Tensor]:
    """float32 [N, 128] features and int64 [N, len(HEADS)] labels; one empty cell in eight is kept."""
    rng = random.Random(seed)
    features, labels = [], []
    for _ in range(views // 50):
        items = [training_view(rng, compose(rng, rng.choice(SCENES))) for _ in range(50)]
        pixels, masks, known = (torch.stack([torch.as_tensor(x) for x in part]) for part in zip(*items, strict=True))
        with torch.autocast("cpu", torch.bfloat16):
            found = pooled_features(image_embed.img_processor, pixels, masks).reshape(-1, WIDTH)
        cells = known.transpose(1, 2).reshape(-1, len(HEADS))
        sure = (cells[:, 0] != IGNORE) & (cells[:, 1] != IGNORE)
        keep = sure & ((cells[:, 0] > 0) | (cells[:, 1] > 0) | (torch.rand(len(cells)) < 0.125))
        features.append(found[keep])
        labels.append(cells[keep])
    return torch.cat(features), torch.cat(labels)


def align_projector(image_embed: Phi4MultimodalImageEmbedding, table: Tensor, tokenizer: Tokenizer) -> float:
    """Train the projector on cells alone; returns the last share of the targets' energy not explained."""
    features, labels = sample_cells(image_embed, VIEWS, seed=3)
    targets = cell_targets(labels, table.detach().float(), tokenizer)
    image_embed.img_projection_down.weight.data *= 0.1  # outputs as small as embeddings
    nn.init.normal_(image_embed.sub_img_feature_extensor, std=0.5)
    nn.init.normal_(image_embed.global_img_feature_extensor, std=0.5)
    parameters = [*image_embed.img_projection_up.parameters(), *image_embed.img_projection_down.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
    energy, share = targets.pow(2).mean(), 1.0
    for step in range(STEPS):
        picked = torch.randint(len(features), (512,))
        loss = (project(features[picked], image_embed) - targets[picked]).pow(2).mean() / energy
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        share = 0.98 * share + 0.02 * loss.item()
    return round(share, 4)
