"""A format's text is what users type and what a bundle records: it must round-trip, and typos must be refused."""

from __future__ import annotations

import pytest

from edgephi.base.errors import ConfigError
from edgephi_quantize.formats import BITS, BLOCK_SIZES, BlockFormat, FloatFormat, RowFormat, parse_format
from edgephi_quantize.methods import METHODS, get_method


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float32", FloatFormat(dtype="float32")),
        ("float16", FloatFormat(dtype="float16")),
        ("int8:rows", RowFormat()),
        ("int4:32", BlockFormat(bits=4, block_size=32)),
        ("int2:256:symmetric", BlockFormat(bits=2, block_size=256, symmetric=True)),
    ],
)
def test_text_becomes_a_format(text: str, expected: object):
    assert parse_format(text) == expected


def test_every_format_reads_its_own_text():
    blocks = [
        BlockFormat(bits=bits, block_size=block_size, symmetric=symmetric)
        for bits in BITS
        for block_size in BLOCK_SIZES
        for symmetric in (False, True)
    ]
    formats = [FloatFormat(dtype="float32"), FloatFormat(dtype="float16"), RowFormat(), *blocks]
    assert [parse_format(str(known)) for known in formats] == formats
    assert len({str(known) for known in formats}) == len(formats)


@pytest.mark.parametrize(
    "text",
    ["", "int4", "int4:", "int4:33", "int3:32", "int4:32:sym", "int04:32", "INT4:32", "int4:rows", " int4:32", "fp16"],
)
def test_what_is_no_format_is_refused_with_the_known_ones(text: str):
    with pytest.raises(ConfigError, match=r"unknown format .*; use float32, float16, int8:rows, or int2, int4 or int8"):
        parse_format(text)


@pytest.mark.parametrize(
    ("bits", "block_size", "message"), [(3, 32, "3 bits; use 2, 4 or 8"), (4, 48, "blocks of 48; use")]
)
def test_impossible_blocks_are_refused(bits: int, block_size: int, message: str):
    with pytest.raises(ConfigError, match=message):
        BlockFormat(bits=bits, block_size=block_size)


def test_an_unknown_method_is_refused_with_the_known_ones():
    assert [get_method(name).name for name in METHODS] == list(METHODS)
    with pytest.raises(ConfigError, match="unknown quantization method 'hqq'; use rtn or search or weighted or gptq"):
        get_method("hqq")
