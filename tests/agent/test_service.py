"""A service whose release crashes or hangs returns to the former one by itself; so do many updates, without garbage."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi_agent import cli
from edgephi_agent.cli import main
from edgephi_agent.disk import Disk
from edgephi_agent.install import read_index
from edgephi_agent.lifecycle import MOST_CUTS, gate
from edgephi_agent.state import load_state
from support.releases import PROBE_PATH, make_release
from support.signing import root, write_bundle

_SERVES = b"#!/bin/sh\necho ready\n"
_CRASHES = b"#!/bin/sh\nkill -SEGV $$\n"
_HANGS = b"#!/bin/sh\nexec sleep 60\n"
_ACCEPTS, _REFUSES = b"#!/bin/sh\n", b"#!/bin/sh\nexit 5\n"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    (tmp_path / "root.json").write_bytes(root())
    (tmp_path / "device").mkdir()
    assert main(["init", str(tmp_path / "root.json"), "--root", str(tmp_path / "device")]) == 0
    return tmp_path / "device"


def _install(device: Path, counter: int, server: bytes, probe: bytes = _ACCEPTS, *, trial_only: bool = False) -> int:
    files = {PROBE_PATH: [probe], "bin/server": [server], "model/w": [b"shared" * 500, b"%d" % counter]}
    made = make_release(1 + counter % 28, files, counter=counter)
    bundle = write_bundle(device.parent / "bundle", made)
    more = ["--trial-only"] if trial_only else []
    return main(["install", str(bundle), "--root", str(device), "--device", str(device / "none"), *more])


def _serving(device: Path, num_starts: int) -> str | None:
    """As systemd does: the gate, then the program, which a watchdog ends; again while it does not become ready."""
    for _ in range(num_starts):
        command = [sys.executable, "-m", "edgephi_agent", "gate", "--root", str(device)]
        subprocess.run(command, check=True, capture_output=True)
        try:
            done = subprocess.run([device / "current/bin/server"], capture_output=True, timeout=0.3, check=False)
        except subprocess.TimeoutExpired:
            continue
        if done.stdout == b"ready\n":
            return os.readlink(device / "current")
    return None


@pytest.mark.parametrize("server", [_CRASHES, _HANGS], ids=["crashes", "hangs"])
def test_a_release_that_never_becomes_ready_gives_way_to_the_former_one(device: Path, server: bytes):
    assert _install(device, 1, _SERVES) == 0
    former = os.readlink(device / "current")
    assert _install(device, 2, server, trial_only=True) == 0
    assert os.readlink(device / "current") != former
    assert _serving(device, 3) is None
    assert _serving(device, 1) == former
    assert _install(device, 2, server, trial_only=True) == 3  # it failed here


def test_a_release_that_is_ready_and_then_hangs_is_not_kept(device: Path):
    """Its probe passes at once; the watchdog starts the service anew until the gate gives the release up."""
    assert _install(device, 1, _SERVES) == 0
    former = os.readlink(device / "current")
    assert _install(device, 2, _HANGS, trial_only=True) == 0
    command = [sys.executable, "-m", "edgephi_agent", "watch", "--soak-s", "8", "--root", str(device)]
    gate(disk := Disk(device))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as watching:
        while load_state(disk).trial is not None:
            assert _serving(device, 1) in (None, former)
            time.sleep(0.1)
        assert watching.wait(30) == 0
    assert os.readlink(device / "current") == former
    assert _install(device, 2, _HANGS, trial_only=True) == 3


def test_a_release_is_kept_once_it_has_served_for_so_long(device: Path):
    assert _install(device, 1, _SERVES, trial_only=True) == 0
    began_s = time.monotonic()
    assert main(["watch", "--soak-s", "1", "--root", str(device)]) == 0
    assert time.monotonic() - began_s > 1
    assert load_state(Disk(device)).good == os.readlink(device / "current").partition("/")[2]


def test_a_service_starts_while_a_bundle_is_copied(device: Path, monkeypatch: pytest.MonkeyPatch):
    """Minutes may pass; a release on trial waits, because its start must be counted."""
    monkeypatch.setattr(cli, "PATIENCE_S", 0.1)
    assert _install(device, 1, _SERVES) == 0
    with Disk(device).locked():
        assert main(["gate", "--root", str(device)]) == 0
    assert _install(device, 2, _SERVES, trial_only=True) == 0
    with Disk(device).locked():
        assert main(["gate", "--root", str(device)]) == 2
    assert load_state(Disk(device)).trial.tries == 0


def test_power_cuts_during_tries_are_no_failures(device: Path):
    """Somebody pulls the plug again and again: the release may still prove itself, and is never called bad."""
    assert _install(device, 1, _SERVES) == 0
    assert _install(device, 2, _SERVES, trial_only=True) == 0
    disk = Disk(device)
    for boot in range(MOST_CUTS):
        state = gate(disk, f"boot {boot}")
        assert state.trial is not None
        assert (state.trial.tries, state.trial.cuts) == (1, boot)
    gate(disk, f"boot {MOST_CUTS - 1}")
    assert load_state(disk).trial.tries == 2  # a crash in the same boot counts
    state = gate(disk, "boot of the last cut")
    assert (state.trial, state.bad) == (None, ())
    assert state.serving.startswith("1-")
    assert _install(device, 2, _SERVES) == 0  # it may be installed once more


def test_twenty_updates_in_a_row_leave_no_garbage(device: Path):
    """Every third fails its probe; what is left are the files of two releases, and nothing else."""
    for counter in range(1, 21):
        probe, code = (_REFUSES, 5) if counter % 3 == 0 else (_ACCEPTS, 0)
        assert _install(device, counter, _SERVES, probe) == code
    disk = Disk(device)
    state = load_state(disk)
    assert (state.good[:3], state.previous[:3]) == ("20-", "19-")
    shared = {file.store_name for name in state.kept for file in read_index(disk, name).release.files if file.is_shared}
    assert set(disk.names("store")) == shared
    assert set(disk.names("releases")) == state.kept
    assert disk.names("incoming") == []
    assert set(os.listdir(device)) == {
        "current", "incoming", "last_probe.json", "lock", "releases", "state.json", "store", "trust",
    }  # fmt: skip
