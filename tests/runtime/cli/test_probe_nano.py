"""The probe on the bundled checkpoint, whose weights are trained: clean runs pass, each gross fault is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from support.bundles import nano_bundle
from support.faults import with_file, with_manifest, with_tensor
from support.shell import invoke, spawn

pytestmark = pytest.mark.slow
SAMPLES = Path(__file__).parents[3] / "nano/samples"
CLEAN_RUNS = 20
_ADAPTER = "layers.1.self_attn.qkv_proj.lora_B.speech"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of the demo with their record. Read only."""
    place = shutil.copytree(SAMPLES, tmp_path_factory.mktemp("probe") / "samples")
    assert invoke("probe", nano_bundle(), "--cases", place, "--record").exit_code == 0
    return place


def test_clean_runs_are_accepted(folder: Path):
    for number in range(CLEAN_RUNS):
        done = spawn("probe", nano_bundle(), "--cases", folder, "--threads", 1 + number % 2)
        assert done.returncode == 0, done.stdout + done.stderr


def _half_empty(content: np.ndarray) -> np.ndarray:
    content[len(content) // 2 :] = 0
    return content


def _without_row(scales: np.ndarray) -> np.ndarray:
    scales[300] = 0
    return scales


FAULTS = {
    "rows of an adapter in another order": lambda bundle, copy: with_tensor(
        bundle, copy, _ADAPTER, lambda a: a[::-1].copy(), "values"
    ),
    "scales of a layer shifted by a row": lambda bundle, copy: with_tensor(
        bundle, copy, "layers.2.mlp.down_proj", lambda a: np.roll(a, 1, 0)
    ),
    "long rotary factors for short": lambda bundle, copy: with_manifest(
        bundle, copy, lambda manifest: manifest["rope"].update(short_factor=manifest["rope"]["long_factor"])
    ),
    "a row of the head empty": lambda bundle, copy: with_tensor(bundle, copy, "lm_head", _without_row),
    "half of the speech encoder empty": lambda bundle, copy: with_file(bundle, copy, "weights/speech.bin", _half_empty),
    "half of the vision encoder empty": lambda bundle, copy: with_file(bundle, copy, "weights/vision.bin", _half_empty),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_gross_fault_is_refused_by_the_wider_tolerance(folder: Path, tmp_path: Path, fault: str):
    copy = FAULTS[fault](nano_bundle(), tmp_path / "model")
    done = invoke("probe", copy, "--cases", folder, "--json")
    assert done.exit_code == 5
    assert json.loads(done.stdout)["worst_sd"] > 0.25
