"""How closely an image is looked at, by the names that OpenAI's interface has for it."""

from __future__ import annotations

from typing import Literal, get_args

from edgephi.base.errors import ConfigError

#: `low` is one crop beside the overview; `high` and `auto` are as many as the image's own size fills.
Detail = Literal["auto", "low", "high"]
DETAILS: tuple[Detail, ...] = get_args(Detail)


def check_detail(detail: object) -> None:
    """Refuse what is no detail.

    Raises:
        ConfigError: So it is.
    """
    if detail not in DETAILS:
        raise ConfigError(f"detail is {detail!r:.40}; use {', '.join(DETAILS)}")


def crop_limit(detail: Detail, max_crops: int | None) -> int | None:
    """Most crops of an image, None for the model's own number."""
    return 1 if detail == "low" else max_crops
