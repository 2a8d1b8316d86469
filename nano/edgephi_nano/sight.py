"""The image tower: its configuration, an initialization it can be trained from, and its pooled features.

Sizes: width 128, patches 14 px, views 168 px, features = hidden state -2 pooled to 6 x 6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Phi4MultimodalVisionConfig
from transformers.modeling_attn_mask_utils import _prepare_4d_attention_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalVisionModel

from edgephi_nano.config import vision_config as tower_sizes
from edgephi_nano.views import HEADS, IGNORE

WIDTH, PATCHES = 128, 12


def vision_config() -> Phi4MultimodalVisionConfig:
    """Sizes of the tower; always eager attention, as SDPA would turn a full mask into a causal one."""
    config = Phi4MultimodalVisionConfig(**tower_sizes())
    config._attn_implementation = "eager"
    return config


def light_attention(
    _module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """The tower's eager attention with the softmax in the working precision: quicker under bf16 autocast."""
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS["light"] = light_attention  # `use_attention(tower, "light")` while training


def use_attention(tower: Phi4MultimodalVisionModel, name: str) -> None:
    """Switch the tower between "eager" (the reference) and "light"."""
    tower.config._attn_implementation = name
    for layer in tower.encoder.layers:
        layer.self_attn.config._attn_implementation = name


def sine_positions() -> Tensor:
    """float32 [144, 128]: sines and cosines of row and column, so that neighbours start alike."""
    k = torch.arange(PATCHES, dtype=torch.float32)
    angles = k[:, None] * torch.exp(torch.linspace(0, -3.0, WIDTH // 4))[None] * 1.5
    axis = torch.cat((angles.sin(), angles.cos()), 1)
    rows, columns = axis[:, None].expand(-1, PATCHES, -1), axis[None].expand(PATCHES, -1, -1)
    return torch.cat((rows, columns), -1).reshape(PATCHES * PATCHES, WIDTH)


def whitened_patches(views: Tensor) -> tuple[Tensor, Tensor]:
    """Principal directions of patches, each scaled to spread about 1.

    Args:
        views: float32 [N, 3, 168, 168].

    Returns:
        float32 [128, 3, 14, 14] weight and float32 [128] bias of the patch embedding.
    """
    patches = nn.functional.unfold(views, 14, stride=14).transpose(1, 2).reshape(-1, 588)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    values, vectors = values[-WIDTH:], vectors[:, -WIDTH:]
    mix = torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q  # spread the directions over all channels
    weight = mix @ (vectors / (values + 0.02 * values.mean()).sqrt()).T
    return weight.reshape(WIDTH, 3, 14, 14), -weight @ mean


def build_tower(views: Tensor) -> Phi4MultimodalVisionModel:
    """A tower ready to train: Xavier linears, sine positions, patch embedding from the given views."""
    tower = Phi4MultimodalVisionModel(vision_config())
    for module in tower.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in tower.encoder.layers:
        layer.self_attn.out_proj.weight.data *= 0.3
        layer.mlp.fc2.weight.data *= 0.3
    weight, bias = whitened_patches(views)
    with torch.no_grad():
        tower.embeddings.patch_embedding.weight.copy_(weight)
        tower.embeddings.patch_embedding.bias.copy_(bias)
        tower.embeddings.position_embedding.weight.copy_(sine_positions())
    return tower


def pooled_features(tower: Phi4MultimodalVisionModel, views: Tensor, masks: Tensor) -> Tensor:
    """Hidden state -2 averaged over 2 x 2 patches.

    Args:
        tower: Runs all its layers but the last.
        views: float32 [N, 3, 168, 168] in -1 .. 1.
        masks: bool [N, 12, 12], True for patches in use.

    Returns:
        [N, 36, 128], row by row.
    """
    hidden = tower.embeddings(views, masks.contiguous())
    bias = None if bool(masks.all()) else _prepare_4d_attention_mask(masks.flatten(1), hidden.dtype)
    for layer in tower.encoder.layers[:-1]:
        hidden = layer(hidden, bias)
    grid = hidden.float().reshape(-1, PATCHES, PATCHES, WIDTH).permute(0, 3, 1, 2)
    return nn.functional.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)


class CellReader(nn.Module):
    """Linear heads that say what each pooled cell shows; used for pretraining only."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in HEADS.items()})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """[N, 36, 128] to logits [N, 36, classes] by name."""
        normed = self.norm(features)
        return {name: head(normed) for name, head in self.heads.items()}


def cell_loss(logits: dict[str, Tensor], labels: Tensor, empty_weight: float = 0.5) -> Tensor:
    """Sum over heads of the mean cross-entropy; cells that show something count apart from the many empty ones.

    Args:
        logits: [N, 36, classes] by head.
        labels: int64 [N, heads, 36].
        empty_weight: What all the empty cells weigh together; all others together weigh 1.
    """
    total = torch.zeros(())
    for i, name in enumerate(HEADS):
        target = labels[:, i].reshape(-1)
        flat = logits[name].reshape(len(target), -1)
        each = nn.functional.cross_entropy(flat, target, ignore_index=IGNORE, reduction="none")
        if name in ("glyph", "kind"):
            full, empty = target > 0, target == 0
            total = total + each[full].sum() / (full.sum() + 1) + empty_weight * each[empty].sum() / (empty.sum() + 1)
        else:
            total = total + 0.5 * each.sum() / ((target >= 0).sum() + 1)
    return total
