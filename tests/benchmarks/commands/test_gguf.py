"""The synthetic GGUF: llama.cpp maps it by offsets, so they must be right to the byte."""

from __future__ import annotations

import dataclasses
import errno
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from click.testing import CliRunner, Result

from edgephi.base.errors import CapacityError
from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.synthetic.gguf import gguf_bytes, write_gguf
from edgephi_bench.synthetic.sizes import Sizes

SIZES = Sizes(hidden=512, intermediate=768, layers=2, heads=4, kv_heads=2, head_size=128, vocab=400)
#: Values and bytes per block of each type number, from ggml's documentation.
BLOCKS = {0: (1, 4), 2: (32, 18), 14: (256, 210)}


def _command(*arguments: str) -> Result:
    group = CommandGroup("edgephi")
    group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]
    return CliRunner().invoke(group, ["bench", "gguf", *arguments])


def _read(stream: IO[bytes], form: str) -> tuple[int | float, ...]:
    return struct.unpack("<" + form, stream.read(struct.calcsize("<" + form)))


def _text(stream: IO[bytes]) -> str:
    (length,) = _read(stream, "Q")
    return stream.read(int(length)).decode()


def _parse(path: Path) -> tuple[dict[str, object], dict[str, tuple[tuple[int, ...], int, int]], int]:
    """Settings, tensors as (shape, type, offset), and where the data begins; written from the format's document."""
    with path.open("rb") as stream:
        assert stream.read(4) == b"GGUF"
        version, num_tensors, num_settings = _read(stream, "IQQ")
        assert version == 3
        settings: dict[str, object] = {}
        for _ in range(int(num_settings)):
            key = _text(stream)
            (kind,) = _read(stream, "I")
            settings[key] = _text(stream) if kind == 8 else _read(stream, {4: "I", 6: "f"}[int(kind)])[0]
        tensors = {}
        for _ in range(int(num_tensors)):
            name = _text(stream)
            (axes,) = _read(stream, "I")
            shape = tuple(map(int, _read(stream, f"{axes}Q")))
            kind, offset = _read(stream, "IQ")
            tensors[name] = (shape, int(kind), int(offset))
        return settings, tensors, -(-stream.tell() // 32) * 32


@pytest.mark.parametrize("head", ["q4_0", "q6_k"])
def test_tensors_follow_each_other_and_fill_the_file(tmp_path: Path, head: str) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, SIZES, head)  # type: ignore[arg-type]
    _, tensors, data = _parse(path)
    end = 0
    for shape, kind, offset in tensors.values():
        assert offset == end
        values, size = BLOCKS[kind]
        assert shape[0] % values == 0
        count = 1
        for axis in shape:
            count *= axis
        end = -(-(offset + count // values * size) // 32) * 32
    assert path.stat().st_size == data + end
    assert gguf_bytes(SIZES, head) == end  # type: ignore[arg-type]


def test_it_is_the_models_shape(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", SIZES, "q6_k")
    settings, tensors, _ = _parse(tmp_path / "m.gguf")
    assert settings["general.architecture"] == "phi3"
    assert settings["phi3.attention.head_count_kv"] == 2
    assert settings["phi3.rope.dimension_count"] == 96  # three quarters of a head are rotated
    assert tensors["token_embd.weight"][:2] == ((512, 400), 14)
    assert "output.weight" not in tensors  # tied: the head is the embedding
    assert tensors["blk.1.attn_qkv.weight"][:2] == ((512, (4 + 2 * 2) * 128), 2)
    assert tensors["blk.1.ffn_up.weight"][:2] == ((512, 2 * 768), 2)


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_text("mine")
    result = _command("-o", str(path))
    assert (result.exit_code, path.read_text()) == (2, "mine")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    written: list[int] = []

    def stop(count: int) -> None:
        written.append(count)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CapacityError, match=r"m\.gguf: the disk filled up"):
        write_gguf(tmp_path / "m.gguf", SIZES, "q4_0", stop)
    assert written
    assert not list(tmp_path.iterdir())


def test_the_command_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgephi_bench.commands.gguf.Sizes", lambda layers: dataclasses.replace(SIZES, layers=layers))
    path = tmp_path / "m.gguf"
    result = _command("-o", str(path), "--layers", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{path}: phi3 with 1 layer, Q4_0, head q4_0, random weights, ")
    assert "blk.0.attn_qkv.weight" in _parse(path)[1]
    assert "blk.1.attn_qkv.weight" not in _parse(path)[1]


def test_too_little_space_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgephi.base.atomic_write.shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    result = _command("-o", str(tmp_path / "m.gguf"))
    assert result.exit_code == 4
    assert "the file needs 2.16 GB, the disk has 1.00 MB free; free some space or make a smaller one" in result.stderr
    assert not list(tmp_path.iterdir())
