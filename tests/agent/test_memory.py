"""What a bundle contains decides neither how much memory the agent takes nor whether it ends."""

from __future__ import annotations

import itertools
import lzma
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgephi_agent.bundle import chunk_entry
from edgephi_agent.cli import main
from edgephi_agent.index import INDEX_NAME, MOST_CHUNK_BYTES, MOST_INDEX_BYTES
from edgephi_agent.subtraction import subtracted
from edgephi_agent.tar_entries import header, padding
from support.releases import MadeRelease, make_release, sha256
from support.signing import entries_of, root, tar

_MOST_BYTES = 64_000_000
_RNG = random.Random(11)
_OLD = [_RNG.randbytes(MOST_CHUNK_BYTES) for _ in range(3)]
_NEW = bytes(1000) + _OLD[0][1000:]
#: The command, and then the most memory that its process had.
_MEASURED = """
import sys
from edgephi_agent.cli import main
code = main(sys.argv[1:])
print(open("/proc/self/status").read())
sys.exit(code)
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a device with a release of large chunks."""
    place = tmp_path_factory.mktemp("memory")
    (place / "root.json").write_bytes(root())
    (place / "device").mkdir()
    assert main(["init", str(place / "root.json"), "--root", str(place / "device")]) == 0
    code, used, _ = _installed(place / "device", _bundle(make_release(1, {"model/w": _OLD})))
    assert (code, used < _MOST_BYTES) == (0, True), used
    return place / "device"


def _installed(device: Path, pieces: Iterable[bytes]) -> tuple[int, int, str]:
    """Exit code, bytes of memory at most, and the message; of a bundle that comes through a pipe."""
    options = ("--root", str(device), "--device", str(device / "none"))
    command = [sys.executable, "-c", _MEASURED, "install", "-", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as agent:
        with suppress(BrokenPipeError):  # it reads no more than it needs
            for piece in pieces:
                agent.stdin.write(piece)
            agent.stdin.close()
        shown, message = agent.stdout.read().decode(), agent.stderr.read().decode()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", shown, re.MULTILINE)
    assert found, message
    return agent.returncode, 1024 * int(found[1]), message


def _update(carried: bytes) -> MadeRelease:
    """A release of which one large chunk comes as this difference."""
    made = make_release(2, {"model/w": [*_OLD[1:], _NEW]})
    number = made.contents.index(_NEW)
    form = {"base": sha256(_OLD[0]), "sha256": sha256(carried), "bytes": len(carried)}
    chunks = [
        {"sha256": chunk.sha256, "bytes": chunk.bytes, "subtractions": [form] if at == number else []}
        for at, chunk in enumerate(made.index.release.chunks)
    ]
    index = make_release(2, {"model/w": [*_OLD[1:], _NEW]}, chunks=chunks).index
    return MadeRelease(index, tuple(carried if at == number else one for at, one in enumerate(made.contents)))


def _million_entries() -> Iterator[bytes]:
    yield tar(entries_of(make_release(2, {}))[:3])[:-1024]
    yield from itertools.repeat((header(chunk_entry("0" * 64), 1) + b"x" + padding(1)) * 1000, 1000)


def _million_times_one_chunk() -> Iterator[bytes]:
    made = entries_of(make_release(2, {}))
    name, data = made[-1]
    yield tar(made)[:-1024]
    yield from itertools.repeat((header(name, len(data)) + data + padding(len(data))) * 1000, 1000)


def _bundle(made: MadeRelease) -> Iterator[bytes]:
    yield tar(entries_of(made))


def _huge_index() -> Iterator[bytes]:
    yield tar([*entries_of(make_release(2, {}))[:2], (INDEX_NAME, b"[" * MOST_INDEX_BYTES)])


CASES: dict[str, tuple[int, Callable[[], Iterator[bytes]]]] = {
    "a million entries that the index lacks": (3, _million_entries),
    "a million times the same chunk": (3, _million_times_one_chunk),
    "an index as large as may be": (3, _huge_index),
    "a difference that is a bomb": (3, lambda: _bundle(_update(lzma.compress(bytes(128 << 20), preset=0)))),
    "a difference of a large chunk": (0, lambda: _bundle(_update(subtracted(_NEW, _OLD[0])))),
}


@pytest.mark.parametrize("case", CASES)
def test_no_bundle_takes_64_mb_of_memory(device: Path, case: str):
    code, pieces = CASES[case]
    found, used, message = _installed(device, pieces())
    assert (found, message.count("\n")) == (code, int(code != 0)), message
    assert used < _MOST_BYTES, f"{used:,} bytes"
