"""Whatever is unusual in a recording that was read whole is reported: on stderr and in JSON."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from support.bundles import small_bundle
from support.media_files import write_recording
from support.shell import invoke

UNFINISHED = "its header was never finished, so it was read to the end of the file"


def _unfinished(path: Path, size: int) -> Path:
    """A recorder that lost its power left this size of its samples."""
    data = bytearray(write_recording(path).read_bytes())
    data[4:8] = struct.pack("<I", 36)
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", size)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 640])
def test_transcribe_reports_a_header_that_was_never_finished(tmp_path: Path, size: int):
    """Whoever wonders why a file of zero bytes has words in it must find the reason."""
    path = _unfinished(tmp_path / "lost.wav", size)
    done = invoke("transcribe", small_bundle(), path, "--json", "--threads", 1)
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == f"note: {path}: {UNFINISHED}"
    (file,) = json.loads(done.stdout)["files"]
    assert (file["notes"], file["duration_s"], file["complete"]) == ([f"{path}: {UNFINISHED}"], 1.0, True)


def test_run_reports_it_too(tmp_path: Path):
    path, plain = _unfinished(tmp_path / "lost.wav", 0), write_recording(tmp_path / "plain.wav")
    options = ("--max-new-tokens", 2, "--threads", 1)
    done = invoke("run", small_bundle(), "what", "--audio", path, "--audio", plain, *options)
    assert f"note: {path}: {UNFINISHED}" in done.stderr.splitlines()
    facts = json.loads(invoke("run", small_bundle(), "what", "--audio", path, *options, "--json").stdout)
    assert facts["notes"] == [f"{path}: {UNFINISHED}"]
    assert json.loads(invoke("run", small_bundle(), "what", "--audio", plain, *options, "--json").stdout)["notes"] == []


def test_a_truncated_recording_is_refused_before_the_model_is_loaded(tmp_path: Path):
    path = write_recording(tmp_path / "cut.wav")
    path.write_bytes(path.read_bytes()[:9000])
    done = invoke("run", tmp_path / "no such model", "what", "--audio", path)
    assert done.exit_code == 2
    assert f"{path}: truncated; the header promises 32,000 bytes of samples, the file has 8,956" in done.stderr
