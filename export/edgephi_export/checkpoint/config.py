"""The sizes of a checkpoint's parts, the same for every layout; the `*_config.py` beside this file read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgephi.bundle.manifest import AdapterInfo, GenerationDefaults, RopeInfo, TokenInfo

#: phi3: Phi-4-mini. phi4mm: the original multimodal layout. phi4_multimodal: transformers' own, adapters in folders.
CheckpointLayout = Literal["phi3", "phi4mm", "phi4_multimodal"]
Modality = Literal["text", "vision", "speech"]
MODALITIES: tuple[Modality, ...] = ("text", "vision", "speech")
#: The decoder linears that adapters change, as `layers.N.<name>`.
ADAPTED_LINEARS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Sizes of the language model."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    rms_norm_eps: float

    def linear_shape(self, linear: str) -> tuple[int, int]:
        """(outputs, inputs) of one of ADAPTED_LINEARS."""
        attention = self.num_heads * self.head_size
        return {
            "self_attn.qkv_proj": (attention + 2 * self.num_kv_heads * self.head_size, self.hidden_size),
            "self_attn.o_proj": (self.hidden_size, attention),
            "mlp.gate_up_proj": (2 * self.intermediate_size, self.hidden_size),
            "mlp.down_proj": (self.hidden_size, self.intermediate_size),
        }[linear]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """Sizes of the image tower.

    Attributes:
        hidden_size: Width of the tower.
        intermediate_size: Width of its feed-forward layers.
        num_layers: Layers in the checkpoint.
        num_used_layers: Layers whose output is read; the rest never matter.
        num_heads: Attention heads.
        patch_size: Pixels along one side of a patch.
        crop_size: Pixels along one side of a view.
        max_crops: Tiles that an image is cut into, at most.
        layer_norm_eps: Added to the variance.
    """

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_used_layers: int
    num_heads: int
    patch_size: int
    crop_size: int
    max_crops: int
    layer_norm_eps: float

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of a view."""
        return self.crop_size // self.patch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechConfig:
    """Sizes of the audio tower.

    Attributes:
        hidden_size: Width of the conformer.
        intermediate_size: Width of its feed-forward layers after the gate.
        num_blocks: Conformer blocks.
        num_heads: Attention heads.
        stem_channels: Channels of the strided convolutions.
        num_mels: Mel bands per frame.
        kernel_size: Rows that the causal depthwise convolution sees.
        time_reduction: 10 ms frames per row.
        max_distance: The relative bias is clipped to [-max_distance, max_distance - 1] rows.
        window_rows: Rows encoded at once.
    """

    hidden_size: int
    intermediate_size: int
    num_blocks: int
    num_heads: int
    stem_channels: int
    num_mels: int
    kernel_size: int
    time_reduction: int
    max_distance: int
    window_rows: int

    @property
    def stem_bands(self) -> int:
        """Frequency bands left after the stem's strides."""
        return -(-self.num_mels // self.time_reduction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole checkpoint. Parts that were not asked for are None or empty."""

    model_type: str
    decoder: DecoderConfig
    rope: RopeInfo
    vision: VisionConfig | None
    speech: SpeechConfig | None
    adapters: tuple[AdapterInfo, ...]
    tokens: TokenInfo
    generation: GenerationDefaults
