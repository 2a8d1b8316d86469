"""Every size of the two public models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgephi.base.errors import ConfigError

#: As in `edgephi_export.checkpoint.config`, which help would take too long to import.
Layout = Literal["phi3", "phi4mm", "phi4_multimodal"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

#: The last ids of the vocabulary are special tokens and the places kept for more of them.
SPECIAL_IDS = 65
_BYTE_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the decoder, the two towers and the adapters, and of the files that hold them.

    Attributes:
        shard_bytes: A weight file ends before it would hold more tensor bytes than this.
    """

    hidden: int = 3072
    intermediate: int = 8192
    layers: int = 32
    heads: int = 24
    kv_heads: int = 8
    head_size: int = 128
    vocab: int = 200064
    original_positions: int = 4096
    max_positions: int = 131072

    image_hidden: int = 1152
    image_intermediate: int = 4304
    image_layers: int = 27
    image_heads: int = 16
    crop: int = 448
    patch: int = 14
    max_crops: int = 36

    audio_hidden: int = 1024
    audio_intermediate: int = 1536
    audio_blocks: int = 24
    audio_heads: int = 16
    audio_channels: int = 1024
    audio_bias_distance: int = 500
    mels: int = 80

    vision_rank: int = 256
    vision_alpha: int = 512
    speech_rank: int = 320
    speech_alpha: int = 640

    shard_bytes: int = 5_000_000_000

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ConfigError(f"layers is {self.layers}; a decoder has at least 1")
        if self.vocab < _BYTE_TOKENS + SPECIAL_IDS:
            raise ConfigError(f"vocab is {self.vocab}; 256 bytes and {SPECIAL_IDS} special places are the least")

    @property
    def qkv(self) -> int:
        """Rows of the packed query, key and value matrix."""
        return (self.heads + 2 * self.kv_heads) * self.head_size

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of a crop."""
        return self.crop // self.patch

    @property
    def rotary_factors(self) -> int:
        """LongRoPE factors: one for each pair of the rotated three quarters of a head."""
        return self.head_size * 3 // 8
