"""How long and how finely sampled a recording may be."""

from __future__ import annotations

import math

from edgephi.audio.log_mel import NARROW_RATE_HZ
from edgephi.base.errors import CapacityError, ConfigError

#: The model's context, 131,072 positions of 80 ms: nothing longer fits in one request.
MAX_DURATION_S = 10_485
MAX_RATE_HZ = 768_000


def check_duration(count: int, hertz: int, name: str) -> None:
    """Raise CapacityError for more than the model can take at once."""
    if count > MAX_DURATION_S * hertz:
        raise CapacityError(
            f"{name}: its length is {math.ceil(count / hertz):,} s; longer than {MAX_DURATION_S:,} s is more than the "
            "model can take at once: cut it into parts",
            reason="media",
        )


def check_rate(hertz: int, name: str) -> None:
    """Raise ConfigError for a rate that the model cannot take."""
    if not NARROW_RATE_HZ <= hertz <= MAX_RATE_HZ:
        raise ConfigError(
            f"{name}: sampled at {hertz:,} Hz; the model takes {NARROW_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz: "
            "record at 16,000 Hz"
        )
