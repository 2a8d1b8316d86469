"""A device's disk that is full or cannot be written, a stick that is pulled out, a clock that is wrong: it serves on.

Each disk is a small file system of its own, which `unshare` mounts for one script.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgephi_agent import trust
from edgephi_agent.cli import main
from support.releases import MadeRelease, make_release
from support.signing import entries_of, root, tar, write_bundle

_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
_CAN_MOUNT = shutil.which("unshare") is not None and subprocess.run([*_UNSHARE, "true"], check=False).returncode == 0
_needs_mounts = pytest.mark.skipif(not _CAN_MOUNT, reason="needs `unshare --user --mount`")


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """Bundles of two releases, and the keys."""
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "root.json").write_bytes(root())
    for counter in (1, 2):
        write_bundle(folder / f"{counter}", _made(counter))
    return folder


def _made(counter: int) -> MadeRelease:
    files = {"model/w": [b"%d" % counter * 900_000], **{f"app/{number}": [b"%d" % number] for number in range(20)}}
    return make_release(counter, {**files, "app/version": [b"%d" % counter]})


def _on_disk(stick: Path, options: str, script: str) -> list[str]:
    """What a script shows on a device that serves release 1, line by line; messages of the agent with its exit code."""
    disk = stick.parent / "disk"
    disk.mkdir()
    setup = f"""
        agent() {{ {sys.executable} -m edgephi_agent "$@" --root {disk}/device >{disk}.out 2>&1
                   echo "$? $(grep ^error: {disk}.out)"; }}
        serves() {{ agent gate; cat {disk}/device/current/app/version; echo; }}
        mount -t tmpfs -o {options} none {disk} && mkdir {disk}/device && cd {disk} || exit 9
        agent init {stick}/root.json; agent install {stick}/1 --device none
    """
    done = subprocess.run([*_UNSHARE, "sh", "-c", setup + script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    lines = done.stdout.splitlines()
    assert lines[:2] == ["0 ", "0 "]
    return lines[2:]


_UPDATE = "agent install {stick}/2 --device none; serves; agent verify --deep; "


@_needs_mounts
def test_a_full_disk_is_one_line_and_the_release_goes_on(stick: Path):
    """Before anything is written, as there is no space in reserve."""
    update = _UPDATE.format(stick=stick)
    shown = _on_disk(stick, "size=80m", f"head -c 20000000 /dev/zero >more; {update} rm more; {update}")
    assert shown[0].startswith("4 error: the release needs ")
    assert shown[1:] == ["0 ", "1", "0 ", "0 ", "0 ", "2", "0 "]


@_needs_mounts
def test_a_disk_that_fills_up_while_a_release_is_written_is_one_line(stick: Path):
    """It has bytes, but no place for another file: the operating system says so in the middle of the work."""
    update = _UPDATE.format(stick=stick)
    fill = "for n in $(seq 300); do touch more$n 2>/dev/null || break; done"
    shown = _on_disk(stick, "size=80m,nr_inodes=120", f"{fill}; rm more1 more2 more3; {update} rm more*; {update}")
    assert shown[0].startswith("4 error: ")
    assert "No space left on device; the release that served goes on" in shown[0]
    assert shown[1:] == ["0 ", "1", "0 ", "0 ", "0 ", "2", "0 "]


@_needs_mounts
def test_a_disk_that_can_only_be_read_serves_on(stick: Path):
    """As a worn card does: Linux mounts it anew for reading after errors."""
    shown = _on_disk(
        stick, "size=80m", f"mount -o remount,ro {stick.parent}/disk; agent install {stick}/2 --device none; serves"
    )
    assert shown[0].startswith("1 error: ")
    assert "Read-only file system; the release that served goes on" in shown[0]
    assert shown[1:] == ["0 ", "1"]


@_needs_mounts
def test_a_trial_on_a_disk_that_can_only_be_read_does_not_start(stick: Path):
    """Its tries could not be counted, so it would be started for ever."""
    script = f"agent install {stick}/2 --device none --trial-only; mount -o remount,ro {stick.parent}/disk; agent gate"
    shown = _on_disk(stick, "size=80m", script)
    assert shown[0] == "0 "
    assert shown[1].startswith("1 error: ")


@pytest.fixture
def device(stick: Path, tmp_path: Path) -> Path:
    place = tmp_path / "device"
    place.mkdir()
    assert main(["init", str(stick / "root.json"), "--root", str(place)]) == 0
    assert _install(place, stick / "1") == 0
    return place


def _install(device: Path, bundle: Path) -> int:
    return main(["install", str(bundle), "--root", str(device), "--device", str(device / "none")])


def _version(device: Path) -> bytes:
    assert main(["gate", "--root", str(device)]) == 0
    assert main(["verify", "--deep", "--root", str(device)]) == 0
    return (device / "current/app/version").read_bytes()


def test_a_stick_that_is_pulled_out_is_one_line_and_goes_on_where_it_ended(
    stick: Path, device: Path, capsys: pytest.CaptureFixture[str]
):
    """What reads from it ends early, or its files are gone."""
    whole = tar(entries_of(_made(2)))
    (stick / "half").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert _install(device, stick / "half") == 3
    assert capsys.readouterr().err == "error: the bundle ends too early; copy it again\n"
    assert _version(device) == b"1"
    assert _install(device, stick / "2") == 0
    assert _version(device) == b"2"


class FixedDatetime(datetime):
    """Of a device whose battery is empty, or that somebody set."""

    year_shown = 1970

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return datetime(cls.year_shown, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("year", "code", "version"), [(1970, 0, b"2"), (2100, 3, b"1")])
def test_a_wrong_clock_refuses_at_most_and_never_stops_what_serves(
    stick: Path, device: Path, monkeypatch: pytest.MonkeyPatch, year: int, code: int, version: bytes
):
    monkeypatch.setattr(FixedDatetime, "year_shown", year)
    monkeypatch.setattr(trust, "datetime", FixedDatetime)
    assert _install(device, stick / "2") == code
    assert _version(device) == version
    monkeypatch.undo()
    assert _install(device, stick / "2") == 0
    assert _version(device) == b"2"
