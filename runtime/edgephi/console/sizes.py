"""Sizes in memory as people write them: `512MB`, `1.5GiB`, `1000000`."""

from __future__ import annotations

import re

from edgephi.base.errors import ConfigError

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(|k|M|G)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


def parse_size(text: str, name: str) -> int:
    """Bytes: kB, MB and GB are powers of 1000, KiB, MiB and GiB of 1024.

    Args:
        text: The size.
        name: What it was given for.

    Raises:
        ConfigError: It is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise ConfigError(f"{name} is {text!r}; give bytes, or a number with a unit, such as 512MB or 1GiB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])
