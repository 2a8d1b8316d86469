"""The arm64 wheels under an emulated processor: function and numbers, never speed. `make arm64` prepares the folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgephi_pack.app.components import read_components
from support.bundles import nano_bundle
from support.shell import invoke

PLACE = Path(__file__).parents[2] / "build/arm64"
SAMPLES = Path(__file__).parents[2] / "nano/samples"
pytestmark = pytest.mark.arm64
_MOST_BYTES = 190_000_000


def _edgephi(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command with the device's own Python, libraries and packages."""
    root = PLACE / "root"
    settings = {"PYTHONHOME": root / "usr", "PYTHONPATH": PLACE / "app/app", "HOME": PLACE}
    given = [one for name, value in settings.items() for one in ("-E", f"{name}={value}")]
    emulator = ["qemu-aarch64-static", "-cpu", "cortex-a76", "-L", str(root), *given]
    program = [str(root / "usr/bin/python3.11"), "-sB", "-m", "edgephi"]
    command = [*emulator, *program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of this machine, which is no arm64."""
    folder = tmp_path_factory.mktemp("probe")
    for path in SAMPLES.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    done = invoke("probe", nano_bundle(), "--cases", folder, "--record")
    assert done.exit_code == 0, done.stderr
    return folder


def test_arm64_answers_in_all_four_modes_as_recorded_here(probe: Path):
    done = _edgephi("probe", nano_bundle(), "--cases", probe, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {case["mode"] for case in facts["cases"]} == {"text", "speech", "vision", "vision_speech"}
    assert facts["tolerance_sd"] == 0.25
    assert 0 < facts["worst_sd"] < 0.25  # other kernels, the same model


def test_arm64_generates_the_expected_answers():
    done = _edgephi("demo", nano_bundle(), "--samples", SAMPLES, "--json")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["doctor", "inspect", "verify"])
def test_commands_of_an_operator_run_on_arm64(command: str):
    done = _edgephi(command, nano_bundle(), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_the_application_tree_is_for_arm64_and_below_190_mb():
    assert read_components(PLACE / "app").target.arch == "aarch64"
    size = sum(path.stat().st_size for path in (PLACE / "app/app").rglob("*") if path.is_file())
    assert size < _MOST_BYTES
