"""The units of a device: systemd reads them, and the server can do little but answer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgephi_agent.cli import main

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
#: In tenths of systemd's exposure, of which 10 is the worst.
_MOST_EXPOSURE = 10


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as written for a device with a release."""
    program = tmp_path / "device/current/bin/edgephi"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o555)
    (tmp_path / "units").mkdir()
    assert main(["units", str(tmp_path / "units"), "--root", str(tmp_path / "device")]) == 0
    return tmp_path / "units"


def test_systemd_reads_every_unit_without_a_warning(units: Path):
    names = [path for path in sorted(units.iterdir()) if path.suffix in (".service", ".socket", ".timer")]
    assert len(names) == 7
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *map(str, names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    own = [line for line in done.stderr.splitlines() if str(units) in line or "edgephi" in line]
    assert (done.returncode, own) == (0, []), done.stderr
    assert not [path.name for path in units.iterdir() if re.search("@[A-Z]+@", path.read_text())]


@pytest.mark.parametrize("name", ["edgephi.service", "edgephi-bridge.service"])
def test_the_servers_exposure_is_at_most_1(units: Path, name: str):
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", str(units / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-600:] + done.stderr


def test_what_decodes_audio_may_run_memory_that_it_wrote(units: Path):
    """Libsndfile calls back for each read of a recording in memory; without it requests with audio fail."""
    for name in ("edgephi.service", "edgephi-bridge.service", "edgephi-watch.service"):
        assert "MemoryDenyWriteExecute" not in (units / name).read_text()


def test_each_start_passes_the_gate_and_is_judged(units: Path):
    text = (units / "edgephi.service").read_text()
    assert "ExecStartPre=+" in text
    assert " gate --root " in text
    for line in ("Restart=always", "StartLimitIntervalSec=0", "WatchdogSec=60", "Wants=edgephi-watch.service"):
        assert f"\n{line}\n" in text


def test_a_place_that_units_cannot_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "my device").mkdir()
    assert main(["units", str(tmp_path), "--root", str(tmp_path / "my device")]) == 2
    assert main(["units", str(tmp_path / "gone"), "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
