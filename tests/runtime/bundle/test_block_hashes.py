"""Damage to weights must be found while loading, before it answers happily; what is only found by chance is counted."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import pytest

from edgephi import Model
from edgephi.base.errors import ArtifactError
from edgephi.bundle.block_hashes import BLOCK_BYTES, BLOCKS_NAME, BlockHashes, BlockSums, FileBlocks, look
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.folder_files import HeldFiles
from support.bundles import copy_bundle, described, put, small_bundle
from support.shell import invoke


def _damage(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(content)


WEIGHTS = ["weights/decoder.bin", "weights/vision.bin", "weights/speech.bin", "weights/adapter_speech.bin"]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("where", [0.0, 0.37, 0.9999])
def test_four_bytes_of_a_small_folder_are_found_wherever_they_are(tmp_path: Path, name: str, where: float):
    """Of up to 512 blocks, 32 MB, every one is read."""
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    size = (folder / name).stat().st_size
    start = min(int(size * where), size - 4)
    content = (folder / name).read_bytes()[start : start + 4]
    _damage(folder / name, start, bytes(byte ^ 0xFF for byte in content))
    done = invoke("run", folder, "hello")
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"{name}: damaged near byte {start // BLOCK_BYTES * BLOCK_BYTES:,}; copy the model again" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("part", ["second half", "end"])
def test_a_copy_that_broke_off_and_was_filled_with_zeros_is_refused(tmp_path: Path, part: str):
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    path = folder / "weights/decoder.bin"
    size = path.stat().st_size
    lost = size // 2 if part == "second half" else 100
    _damage(path, size - lost, bytes(lost))
    with pytest.raises(ArtifactError, match=r"decoder\.bin: damaged near byte"):
        Model.load(folder)


def test_weights_of_another_export_are_refused(tmp_path: Path):
    """Sizes agree, as they do between two trainings of one model."""
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    content = (folder / "weights/vision.bin").read_bytes()
    (folder / "weights/vision.bin").write_bytes(content[4096:] + content[:4096])
    with pytest.raises(ArtifactError, match=r"vision\.bin: damaged"):
        Model.load(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "decoder_text.onnx"])
def test_every_byte_of_a_small_file_counts(tmp_path: Path, name: str):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}: content differs from the manifest"):
        Model.load(folder)


def test_a_folder_of_an_older_version_loads_without_the_check(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    (folder / BLOCKS_NAME).unlink()
    manifest = described(folder)
    manifest["files"] = [file for file in manifest["files"] if file["path"] != BLOCKS_NAME]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert Bundle(folder).look_for_damage() == 0
    Model.load(folder).close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "expected an object"),
        (b'{"block_bytes": 65536, "files": [], "more": 1}', "unknown key 'more'"),
        (b'{"block_bytes": 0, "files": []}', "block_bytes is 0"),
        (b'{"block_bytes": 65536, "files": [{"path": "x.bin", "crc32": "0"}]}', "not groups of eight"),
        (b'{"block_bytes": 65536, "files": [{"path": "x.bin", "crc32": "0000000g"}]}', "not groups of eight"),
        (b'{"block_bytes": 65536, "files": [{"path": "../x", "crc32": "00000000"}]}', "is not listed in edgephi.json"),
    ],
)
def test_checksums_that_make_no_sense_are_refused(tmp_path: Path, content: bytes, message: str):
    folder = copy_bundle(small_bundle("phi3"), tmp_path / "m")
    put(folder, BLOCKS_NAME, content)
    with pytest.raises(ArtifactError, match=rf"blocks\.json.*{message}"):
        Model.load(folder)


@pytest.mark.parametrize("seed", range(8))
def test_checksums_do_not_depend_on_how_a_file_is_written(seed: int):
    chance = random.Random(seed)
    content = chance.randbytes(chance.choice([0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES - 1, 2 * BLOCK_BYTES + 7]))
    sums, start = BlockSums(), 0
    while start < len(content):
        stop = start + chance.choice([1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
        sums.update(content[start:stop])
        start = stop
    blocks = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    assert [*sums.of("x")] == [f"{zlib.crc32(block):08x}" for block in blocks]


@pytest.fixture
def large(tmp_path: Path) -> tuple[HeldFiles, BlockHashes, int]:
    """Two files of many blocks, small ones here, and how many blocks there are."""
    files, hashes = HeldFiles(tmp_path), []
    for name, count in (("a.bin", 700), ("b.bin", 301)):
        content = random.Random(name).randbytes(64 * count - 10)
        (tmp_path / name).write_bytes(content)
        sums = "".join(f"{zlib.crc32(content[at : at + 64]):08x}" for at in range(0, len(content), 64))
        hashes.append(FileBlocks(path=name, crc32=sums))
        files.add(name)
    return files, BlockHashes(block_bytes=64, files=tuple(hashes)), 1001


def test_a_whole_folder_passes_and_the_work_is_bounded(large: tuple[HeldFiles, BlockHashes, int]):
    files, blocks, _ = large
    assert look(files, blocks, most=50, longest_s=60) == 54
    assert look(files, blocks, most=5000, longest_s=60) == 1005
    assert look(files, blocks, most=50, longest_s=-1) == 4  # the ends of each file, however slow the disk


@pytest.mark.parametrize("seed", range(20))
def test_damage_of_two_stretches_is_found_every_time(large: tuple[HeldFiles, BlockHashes, int], seed: int):
    """One block is read of each stretch, so damage that covers one wholly cannot hide."""
    files, blocks, count = large
    stretch = -(-count // 50)
    start = random.Random(seed).randrange(700 - 2 * stretch)
    _damage(files.folder / "a.bin", 64 * start, bytes(64 * 2 * stretch))
    with pytest.raises(ArtifactError, match=r"a\.bin: damaged near byte"):
        look(_again(files), blocks, most=50, longest_s=60)


def test_one_changed_byte_of_many_blocks_is_found_as_often_as_documented(large: tuple[HeldFiles, BlockHashes, int]):
    """A stretch's block is drawn each time: one of 20 here, so some 5 in 100 loads find it, and a few hundred do."""
    files, blocks, _ = large
    _damage(files.folder / "a.bin", 64 * 333, b"\0\0\0\0")
    files, found = _again(files), 0
    for _ in range(400):
        try:
            look(files, blocks, most=50, longest_s=60)
        except ArtifactError:
            found += 1
    assert 4 <= found <= 60  # 20 on average; both ends have odds below 1 in 10,000


def _again(files: HeldFiles) -> HeldFiles:
    """The files as a later load finds them."""
    again = HeldFiles(files.folder)
    for name in ("a.bin", "b.bin"):
        again.add(name)
    return again
