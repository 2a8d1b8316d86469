"""`release.json`: whatever could lead a file elsewhere, or be read in two ways, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from edgephi_agent.errors import RefusedError
from edgephi_agent.index import SignedIndex
from support.releases import release_json

_FILES = {"app/a.py": [b"one", b"two"], "model/w.bin": [b"two", b"three"]}
Change = Callable[[dict[str, Any]], object]


def _read(change: Change = lambda raw: None) -> SignedIndex:
    raw, _ = release_json(3, _FILES)
    change(raw)
    return SignedIndex.read(json.dumps(raw).encode())


def _renamed(path: str) -> Change:
    return lambda raw: raw["files"][1].update(path=path)


def _with(**values: Any) -> Change:
    return lambda raw: raw.update(values)


def _file(**values: Any) -> Change:
    return lambda raw: raw["files"][1].update(values)


BAD: dict[str, tuple[Change, str]] = {
    "another schema": (_with(schema=2), "schema is 2, this agent reads 1"),
    "an unknown key": (_with(colour="red"), "unknown key 'colour'"),
    "a float": (_with(counter=1.5), "1.5 is no whole number"),
    "a bool for a number": (_with(counter=True), "expected int"),
    "counter zero": (_with(counter=0), "counter must be 1 or more"),
    "a time with a zone": (_with(created="2026-11-27T02:00:00+01:00"), "created a time such as"),
    "a probe that is not there": (_with(probe={"command": ["bin/gone"]}), "is no file of the release"),
    "a probe without an end": (_with(probe={"command": ["bin/probe"], "deadline_s": 0}), "a deadline of 1 second"),
    "no file list": (lambda raw: raw.pop("files"), "key 'files' is missing"),
    "a foreign mode": (_file(mode=0o4755), "is neither 292 nor 365"),
    "a wrong size": (_file(bytes=7), "do not add up to 7 bytes"),
    "a chunk that is not listed": (_file(chunks=[9]), "names a chunk that is not listed"),
    "a negative chunk": (_file(chunks=[-1]), "names a chunk that is not listed"),
    "a short hash": (_file(sha256="abc"), "is no sha256"),
    "a huge chunk": (lambda raw: raw["chunks"][0].update(bytes=10**12), "1 to 4,194,304 are allowed"),
    "an empty chunk": (lambda raw: raw["chunks"][0].update(bytes=0), "1 to 4,194,304 are allowed"),
    "a chunk twice": (lambda raw: raw["chunks"].append(raw["chunks"][0]), "a chunk is listed twice"),
    "chunks in another order": (lambda raw: raw["chunks"].reverse(), "."),
    "a chunk that nothing uses": (
        lambda raw: raw["chunks"].append({"sha256": "0" * 64, "bytes": 1}),
        "in the order of their first use",
    ),
    "two names but for case": (_renamed("bin/PROBE"), "two files have this name"),
    "a file and a folder": (_renamed("model/w.bin/x"), "is a file and a folder"),
}
PATHS = [
    "../etc/passwd", "/etc/passwd", "app/../../x", "app//x", "app/./x", "app/", "app", "etc/x", "app/a\0b", "app/a\nb",
    "app/e\u0301", "app/" + "x" * 400, "", ".", "app/\u202ex",
]  # fmt: skip


def test_a_plain_index_is_read_and_named_by_its_content():
    index = _read()
    assert index.name.startswith("3-")
    assert len(index.name) == len("3-") + 16
    assert _read(_with(version="3.1")).name != index.name
    assert index.release.files[1].store_name.endswith(".444")


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_index_is_refused(case: str):
    change, match = BAD[case]
    with pytest.raises(RefusedError, match=match):
        _read(change)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_not_plainly_inside_the_release_is_refused(path: str):
    with pytest.raises(RefusedError, match="is no path of a release"):
        _read(_renamed(path))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"schema": 1, "schema": 1}', b"[" * 100_000, b"NaN"])
def test_what_is_no_object_is_refused(content: bytes):
    with pytest.raises(RefusedError, match=r"^release\.json: "):
        SignedIndex.read(content)
