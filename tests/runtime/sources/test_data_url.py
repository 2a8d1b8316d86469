"""Images and audio inside text are read in every spelling that browsers and shells write."""

from __future__ import annotations

import base64
import random
from urllib.parse import quote

import pytest

from edgephi.base.errors import ConfigError
from edgephi.sources.data_url import is_data_address, read_base64, read_data_address

DATA = bytes(range(256)) + b"\xfb\xff\xbf" * 5
PLAIN = base64.b64encode(DATA).decode()


def _wrapped(text: str, width: int, end: str) -> str:
    return end.join(text[i : i + width] for i in range(0, len(text), width)) + end


@pytest.mark.parametrize("header", [
    "data:image/png;base64", "DATA:image/png;base64", "Data:IMAGE/PNG;Base64", "data:;base64", "data:a/b; base64 ",
    "data:image/png;charset=utf-8;base64", "  data:text/plain;name=a b.png;BASE64", "data:audio/x-wav;codecs=1;base64",
    "\x01\x1f data:image/png;base64", "d\nat\r\na\t:image/png;ba\nse64",
])  # fmt: skip
@pytest.mark.parametrize("data", [
    PLAIN, PLAIN + "\n", _wrapped(PLAIN, 76, "\n"), _wrapped(PLAIN, 64, "\r\n"), _wrapped(PLAIN, 20, " \t"),
    PLAIN.rstrip("="), base64.urlsafe_b64encode(DATA).decode(), quote(PLAIN, safe=""), PLAIN.replace("=", "%3D"),
    _wrapped(PLAIN, 76, "%0A"), PLAIN + "#fragment",
])  # fmt: skip
def test_every_spelling_of_a_base64_address_gives_the_same_bytes(header: str, data: str):
    assert is_data_address(header + "," + data)
    assert read_data_address(header + "," + data, "here") == DATA


def test_any_length_comes_back_with_and_without_padding():
    draw = random.Random(3)
    for length in range(70):
        data = draw.randbytes(length)
        for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")):
            letters = "".join(letter + draw.choice(["", "", "\n", " "]) for letter in text)
            assert read_base64(letters, "here") == data


@pytest.mark.parametrize(
    ("address", "data"),
    [
        ("data:,a%20b", b"a b"),
        ("data:image/svg+xml,%3Csvg%3E", b"<svg>"),
        ("data:text/plain;charset=utf-8,\u00e9", "\u00e9".encode()),
        ("data:,a\n b#c", b"a b"),
        ("data:;base64,", b""),
        ("data:text/base64,YQ==", b"YQ=="),
    ],
)
def test_addresses_without_base64_are_percent_decoded(address: str, data: bytes):
    assert read_data_address(address, "here") == data


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("data:image/png;base64", "needs a comma"),
        ("data:;base64,YWJ", None),
        ("data:;base64,YWJjZ", "it was cut, or a letter was lost"),
        ("data:;base64,YW=Jj", "not valid base64"),
        ("data:;base64,YWJj$A==", "not valid base64"),
        ("data:;base64,YWJ\u00e9", "not valid base64"),
        ("data:;base64,Y===", "not valid base64"),
        ("data:,\ud800", "not valid Unicode"),
    ],
)
def test_damaged_addresses_are_refused_with_their_place(address: str, match: str | None):
    if match is None:
        assert read_data_address(address, "here") == b"ab"
        return
    with pytest.raises(ConfigError, match=f"^here: .*{match}"):
        read_data_address(address, "here")


@pytest.mark.parametrize("path", ["data", "database.png", "photos/data:x.png", "file:///data:", ""])
def test_a_path_is_no_data_address(path: str):
    assert not is_data_address(path)
