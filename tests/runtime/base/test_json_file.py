"""What edgephi wrote must be read exactly or refused: a wrong reading here would be a wrong answer later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, read_json


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer:
    name: str
    scale: float
    mode: Literal["a", "b"]
    inner: Inner
    factors: tuple[float, ...]
    maybe: Inner | None = None

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError(f"scale is {self.scale}")


GOOD = {"name": "x", "scale": 2, "mode": "a", "inner": {"size": 3}, "factors": [1, 2.5]}


def test_nested_values_keep_their_types():
    value = decode(Outer, GOOD, "f")
    assert value == Outer("x", 2.0, "a", Inner(3), (1.0, 2.5))
    assert isinstance(value.scale, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"f: unknown key 'extra'; known: name, scale"),
        ({"name": 3}, r"f\.name: expected str, found 3"),
        ({"scale": True}, r"f\.scale: expected float, found True"),
        ({"scale": -1}, r"f: scale is -1"),
        ({"scale": 10**400}, r"f\.scale: 1000.* is not a finite number"),
        ({"factors": [1.0, float("nan")]}, r"f\.factors\[1\]: nan is not a finite number"),
        ({"mode": "c"}, r"f\.mode: 'c' is not one of a, b"),
        ({"inner": {"size": True}}, r"f\.inner\.size: expected int"),
        ({"inner": {}}, r"f\.inner: key 'size' is missing"),
        ({"inner": [1]}, r"f\.inner: expected an object, found a list"),
        ({"factors": 3}, r"f\.factors: expected a list, found 3"),
        ({"factors": [None]}, r"f\.factors\[0\]: expected float, found null"),
        ({"maybe": {"size": "1"}}, r"f\.maybe\.size: expected int"),
    ],
)
def test_anything_unexpected_is_named(change: dict[str, object], message: str):
    with pytest.raises(ArtifactError, match=message):
        decode(Outer, {**GOOD, **change}, "f")


def test_a_file_is_read_with_or_without_a_mark_in_front(tmp_path: Path):
    for content in (b'{"a": 1}', b'\xef\xbb\xbf{"a": 1}'):
        (tmp_path / "f.json").write_bytes(content)
        assert read_json(tmp_path / "f.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"f\.json: cannot be read \(No such file or directory\); give another$"),
        (b"{", r"f\.json: not valid JSON \("),
        (b"[" * 100_000, r"f\.json: not valid JSON \("),
        (b'{"a": "\xff"}', r"f\.json: not UTF-8 at byte 7; convert it$"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_json(tmp_path / "f.json", "; give another")
