"""At the real sizes a walk must fit into a laptop's memory, and a killed one must end as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephi_bench.synthetic.checkpoint import SyntheticOptions, write_synthetic
from edgephi_bench.synthetic.sizes import Sizes

#: Two layers of the real models; the table and the encoders have no part in a walk.
SIZES = Sizes(layers=2, vocab=1024, image_layers=2, audio_blocks=1)
_MOST_BYTES = 3e9
#: GPTQ over as many positions as an export takes: of Phi-4-mini with a correction of rank 64, of a checkpoint with
#: adapters with these solved anew. Then what it cost.
_WALK = """
import json, resource, sys
from pathlib import Path
import numpy as np
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.selection import choose
from edgephi_export.layer_walk.plan import WalkPlan
from edgephi_export.layer_walk.sequences import MOST_POSITIONS, CalibrationSequence
from edgephi_export.layer_walk.walk import walk
from edgephi_export.layer_walk.walk_files import WalkFiles
from edgephi_export.progress import Meter
from edgephi_quantize.recipe import SolvedAnew, make_recipe

checkpoint, folder = map(Path, sys.argv[1:3])
routed = sys.argv[3:] == ["routed"]
modalities = ("text", "vision", "speech") if routed else ("text",)
adapters = ("none", "speech", "vision") if routed else ("none",)
solve = SolvedAnew(adapters=True) if routed else SolvedAnew(correction_rank=64)
opened = open_checkpoint(checkpoint, choose(None, modalities, modalities))
plan = WalkPlan(
    config=opened.config, source=opened.weights, mode="routed" if routed else "none", threads=2,
    recipe=make_recipe("int4-fast", method="gptq", solve=solve))
with WalkFiles(folder, "true size") as files:
    if not files.has_sequences:
        rows = np.random.default_rng(0).standard_normal((MOST_POSITIONS, 3072), np.float32)
        parts = np.split(rows, 20)
        sequences = [CalibrationSequence(adapter=adapters[n % len(adapters)], rows=parts[n]) for n in range(20)]
        files.begin(sequences, plan.is_followed)
        del rows, parts, sequences
    walk(plan, files, Meter.silent())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * 1024}))
"""
#: The same, killed between the matrices of the second layer.
_KILLED = (
    """
import os, signal
from edgephi_export.layer_walk.linear import LinearSolver

unpatched = LinearSolver.solve

def solve_or_die(solver, task, *inputs):
    if task.matrix.name == "layers.1.self_attn.o_proj":
        os.kill(os.getpid(), signal.SIGKILL)
    return unpatched(solver, task, *inputs)

LinearSolver.solve = solve_or_die
"""
    + _WALK
)


def _run(code: str, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)


def _check_costs(run: subprocess.CompletedProcess[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Print CPU seconds of a layer and peak memory: 32 layers of the real model take 32 times as long."""
    assert run.returncode == 0, run.stderr
    used = json.loads(run.stdout)
    with capsys.disabled():
        print(f"\n{used['cpu_s'] / 2:.0f} CPU seconds a layer, {used['peak_bytes'] / 1e9:.2f} GB at most")
    assert used["peak_bytes"] < _MOST_BYTES


@pytest.mark.slow
def test_a_layer_takes_minutes_and_3_gb_and_a_kill_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_synthetic(tmp_path / "mini", "phi3", SyntheticOptions(sizes=SIZES))
    _check_costs(_run(_WALK, tmp_path / "mini", tmp_path / "whole"), capsys)
    killed = _run(_KILLED, tmp_path / "mini", tmp_path / "killed")
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "layer-000.npz").is_file()
    assert not (tmp_path / "killed" / "layer-001.npz").exists()
    resumed = _run(_WALK, tmp_path / "mini", tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("layer-000.npz", "layer-001.npz"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    np.testing.assert_array_equal(*(np.load(tmp_path / place / "hidden-002.npy") for place in ("killed", "whole")))


@pytest.mark.slow
def test_adapters_solved_anew_fit_into_3_gb_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_synthetic(tmp_path / "mm", "phi4mm", SyntheticOptions(sizes=SIZES))
    _check_costs(_run(_WALK, tmp_path / "mm", tmp_path / "walk", "routed"), capsys)
    with np.load(tmp_path / "walk" / "layer-001.npz") as held:
        found = {key.partition("|")[0] for key in held.files if "lora" in key}
    assert len(found) == 16  # A and B of two adapters in four linears
