"""Sizes are read as they are written elsewhere: 1 GB is not 1 GiB."""

from __future__ import annotations

import pytest

from edgephi.base.errors import ConfigError
from edgephi.console.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("512MB", 512_000_000),
        ("512 mb", 512_000_000),
        ("1GB", 10**9),
        ("1g", 10**9),
        ("1GiB", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("64k", 64_000),
        ("64KiB", 65_536),
        (" 7B ", 7),
    ],
)
def test_a_size_is_read(text: str, size: int):
    assert parse_size(text, "--cache-bytes") == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.MB", "1TB", "1iB", "0x10", "1e9", "nan", "1 000", "9" * 16])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"--cache-bytes is .*; give bytes, or a number with a unit"):
        parse_size(text, "--cache-bytes")
