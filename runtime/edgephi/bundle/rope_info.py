"""The rotary positions of a model, as the manifest describes them."""

from __future__ import annotations

from dataclasses import dataclass

from edgephi.base.numbers import check_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeInfo:
    """Rotary positions with LongRoPE's two factor lists (Ding et al. 2024, arXiv 2402.13753).

    Attributes:
        rotary_dim: Leading dimensions of a head that are rotated.
        theta: Base of the inverse frequencies.
        original_max_positions: Short factors serve total lengths up to this, long factors longer ones.
        max_positions: The model's context.
        short_factor: rotary_dim / 2 divisors of the inverse frequencies.
        long_factor: The same for long totals.
        attention_scale: Multiplies cos and sin.
    """

    rotary_dim: int
    theta: float
    original_max_positions: int
    max_positions: int
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    attention_scale: float

    def __post_init__(self) -> None:
        check_positive(
            rotary_dim=self.rotary_dim,
            theta=self.theta,
            original_max_positions=self.original_max_positions,
            max_positions=self.max_positions,
            attention_scale=self.attention_scale,
        )
        for name, factors in (("short_factor", self.short_factor), ("long_factor", self.long_factor)):
            if len(factors) != self.rotary_dim // 2:
                raise ValueError(f"{name} has {len(factors)} values; rotary_dim {self.rotary_dim} needs half as many")
            check_positive(**{f"{name}[{i}]": factor for i, factor in enumerate(factors)})

    def is_long(self, total: int) -> bool:
        """Whether a sequence of this many positions takes the long factors."""
        return total > self.original_max_positions
