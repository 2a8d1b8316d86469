"""The power goes at random writes of updates of a device on ext4; its disk loses what was not flushed: promises hold.

P1 to P6 are those of tests/agent/test_power_cuts.py, whose disk is a simulated one. Here each start of the device is a
container with a boot id of its own, in which Debian's Python runs the agent's commands on what the last cut left.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgephi_agent.cli import main
from edgephi_agent.disk import Disk
from edgephi_agent.install import read_index
from edgephi_agent.lifecycle import gate
from edgephi_agent.state import load_state
from support.container import STICK, make_root, run_in
from support.logged_disk import (
    Entry,
    check_file_system,
    copy_image,
    logged,
    make_image,
    mounted,
    write_after_cut,
)
from support.releases import PROBE_PATH, MadeRelease, make_release, sha256
from support.signing import root as root_metadata
from support.signing import write_bundle
from support.simulated_disk import Survival

pytestmark = pytest.mark.appliance
_SURVIVALS: tuple[Survival, ...] = ("none", "all", "some", "some")
_CUTS = int(os.environ.get("EDGEPHI_CUTS", "50"))
_IMAGE_BYTES = 160 << 20
_PLACE = "/var/lib/edgephi"
_RNG = random.Random(7)
_SHARED = _RNG.randbytes(3 << 20)
#: A start of the device with a stick in it: what is on trial is judged, then the two releases on the stick.
_START = f"""
agent() {{ python3 -m edgephi_agent "$@" --root {_PLACE}; }}
agent gate
agent watch
for bundle in 1 2; do
    agent install {STICK}/$bundle --trial-only
    agent gate
    agent watch
done
"""


def _is_refused(counter: int) -> bool:
    """Whether the probe of this release does not accept it."""
    return counter % 3 == 0


def _made(counter: int) -> MadeRelease:
    own = random.Random(counter)
    files = {
        PROBE_PATH: [b"#!/bin/sh\nexit 5\n" if _is_refused(counter) else b"#!/bin/sh\n"],
        "model/w.bin": [_SHARED, own.randbytes(1 << 20)],
        "app/a.py": [own.randbytes(5000)],
        "app/b.so": [_SHARED[:100_000]],
    }
    return make_release(1 + counter % 28, files, counter=counter)


class Device:
    """A disk image that outlives power cuts, and the container that starts with it."""

    def __init__(self, place: Path) -> None:
        self.place, self.image, self.stick = place, place / "image", place / "stick"
        self.stick.mkdir()
        self.root = make_root(place / "root")
        make_image(self.image, _IMAGE_BYTES)
        (place / "root.json").write_bytes(root_metadata())
        with mounted(self.image, place / "mounted") as folder:
            agent = folder / "agent"
            agent.mkdir()
            assert main(["init", str(place / "root.json"), "--root", str(agent)]) == 0
            bundle = write_bundle(self.stick / "1", _made(1))
            assert main(["install", str(bundle), "--root", str(agent), "--device", str(place / "none")]) == 0

    def updated(self, counter: int) -> list[Entry]:
        """A whole start with this release and the next; what was written and flushed. The image stays as it was."""
        releases = (_made(counter), _made(counter + 1))
        for number, made in enumerate(releases, start=1):
            write_bundle(self.stick / f"{number}", made)
        place = self.place / "run"
        place.mkdir()
        try:
            with logged(copy_image(self.image, place / "image"), place) as disk:
                done = run_in(self.root, self.stick, "sh", "-c", _START, binds=((disk.folder / "agent", _PLACE),))
                entries = disk.entries()
                _check_end(Disk(disk.folder / "agent"), releases, f"{done.stdout}{done.stderr}")
            return entries
        finally:
            shutil.rmtree(place)


def _check_end(disk: Disk, releases: Sequence[MadeRelease], said: str) -> None:
    """P4 to P6: the updates ended well, whatever was there before."""
    state = load_state(disk)
    good = max((made for made in releases if not _is_refused(_counter(made))), key=_counter)
    assert state.trial is None, f"P5: still on trial: {said}"
    assert state.good == good.index.name, f"P4: {said}"
    for made in releases:
        assert (state.why_bad(made.index.name) is not None) == _is_refused(_counter(made)), f"P5: {said}"
    files = [file for one in state.kept for file in read_index(disk, one).release.files]
    assert set(disk.names("store")) == {file.store_name for file in files if file.is_shared}, "P6: store"
    assert set(disk.names("releases")) == state.kept, "P6: releases"
    assert disk.names("incoming") == [], "P6: incoming"


def _counter(made: MadeRelease) -> int:
    return made.index.release.counter


def _check_after_cut(image: Path, place: Path, floor: int) -> tuple[int, Sequence[str]]:
    """P1 to P3 and P5 in a copy of the image, after the gate; the committed counter and the names of bad releases."""
    with mounted(copy_image(image, place / "copy"), place / "mounted") as folder:
        disk = Disk(folder / "agent")
        state = gate(disk, "another boot")
        assert disk.read_link("current") == f"releases/{state.serving}", "P1: current"
        for name in state.kept:
            for file in read_index(disk, name).release.files:
                assert sha256(disk.read(f"releases/{name}/{file.path}") or b"") == file.sha256, f"P1: {file.path}"
        for name in disk.names("store"):
            assert sha256(disk.read(f"store/{name}") or b"") == name.partition(".")[0], "P2"
        assert state.floor.counter >= floor, "P3"
        assert state.good is not None
        counter = read_index(disk, state.good).release.counter
        assert counter == state.floor.counter, "P3: the floor is not the good release's"
        assert not _is_refused(counter), "P5"
    check_file_system(place / "copy")
    return state.floor.counter, [one.name for one in state.bad]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_no_power_cut_of_a_device_breaks_a_promise(device: Device):
    """Each start is cut at a random write or flush, and the next one goes on from what is then on the disk."""
    counter, floor, num_entries = 2, 1, 0
    for _ in range(_CUTS):
        entries = device.updated(counter)
        num_entries += len(entries)
        cut = entries[: _RNG.randrange(len(entries) + 1)]
        write_after_cut(device.image, cut, _RNG.choice(_SURVIVALS), _RNG)
        floor, bad = _check_after_cut(device.image, device.place, floor)
        while floor >= counter or _made(counter).index.name in bad:
            counter += 1
    device.updated(counter)
    assert counter > 2 + _CUTS // 5
    print(f"{_CUTS} power cuts among {num_entries:,} writes and flushes; {counter - 2} releases were judged meanwhile")


@pytest.mark.parametrize("counter", [2, 3], ids=["the last is given up", "the last is kept"])
def test_what_the_agent_said_is_on_the_disk(device: Device, counter: int):
    """The power goes when its last command has ended, and the disk loses all that it may lose."""
    write_after_cut(device.image, device.updated(counter), "none", random.Random(0))
    floor, bad = _check_after_cut(device.image, device.place, 1)
    assert (floor, bad) == (2 if counter == 2 else 4, [_made(3).index.name])


def test_the_disk_loses_what_was_not_synced(tmp_path: Path):
    """Otherwise the tests above would prove nothing."""
    make_image(tmp_path / "image", _IMAGE_BYTES)
    (tmp_path / "run").mkdir()
    with logged(copy_image(tmp_path / "image", tmp_path / "work"), tmp_path / "run") as disk:
        (disk.folder / "kept").write_bytes(b"k" * 10_000)
        Disk(disk.folder).sync_all()
        (disk.folder / "lost").write_bytes(b"l" * 10_000)
        entries = disk.entries()
    write_after_cut(tmp_path / "image", entries, "none", random.Random(0))
    with mounted(tmp_path / "image", tmp_path / "mounted") as folder:
        assert (folder / "kept").read_bytes() == b"k" * 10_000
        assert not (folder / "lost").exists()
    check_file_system(tmp_path / "image")
