"""`edgephi bench` through its front door: numbers on stdout, progress on stderr, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgephi.bundle.bundle import Bundle
from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.synthetic.checkpoint import SyntheticOptions, write_synthetic
from edgephi_bench.synthetic.sizes import Sizes

MB = 1_000_000
_GENAI_MODULE = "onnxruntime_genai.models.builder"

#: The real group, with the command put in directly: whether it is installed as an entry point is another test's matter.
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small: Sizes) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "checkpoint"
    write_synthetic(folder, "phi4mm", SyntheticOptions(sizes=small))
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def _fake_python(path: Path, module_code: str, version_code: str = "echo 9.9.9") -> Path:
    """Stands in for another environment's interpreter: `-c` asks for a version, `-m` converts.

    In `module_code`, $1 is the module and ${5} is the output folder.
    """
    path.write_text(f'#!/bin/sh\nmode=$1\nshift\nif [ "$mode" = -c ]; then {version_code}; else {module_code}; fi\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _peer(python: Path) -> list[object]:
    return ["--peers", "onnxruntime-genai", "--genai-python", python]


@pytest.mark.usefixtures("installed")
def test_json_holds_every_run_and_its_median(checkpoint: Path, work: Path):
    result = _run("export", checkpoint, "--recipe", "fp32", "--runs", 2, "--work", work, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    weights = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    assert report["checkpoint"] == {"path": str(checkpoint), "bytes": weights}
    (measured,) = report["results"]
    assert (measured["name"], measured["error"], len(measured["samples"])) == ("edgephi", None, 2)
    assert measured["command"][1:5] == ["-m", "edgephi", "export", str(checkpoint)]
    _check_samples(measured, weights)
    assert report["environment"]["versions"]["numpy"]
    assert "edgephi: run 2 of 2\n" in result.stderr
    assert not list(work.iterdir())


def _check_samples(measured: dict[str, Any], weights: int) -> None:
    first, second = measured["samples"]
    for name, value in measured["median"].items():
        assert value == pytest.approx((first[name] + second[name]) / 2)
    for sample in (first, second):
        assert 30 * MB < sample["peak_bytes"] < 1000 * MB
        assert sample["output_bytes"] > 2 * weights - 2 * MB  # bfloat16 became float32
        assert sample["checkpoint_mb_per_s"] == pytest.approx(weights / 1e6 / sample["seconds"])


@pytest.mark.usefixtures("installed")
def test_options_reach_edgephi_export_and_outputs_can_be_kept(checkpoint: Path, work: Path):
    arguments = ["--recipe", "fp32", "--adapters", "speech", "--work", work, "--keep", "--json"]
    result = _run("export", checkpoint, *arguments)
    (measured,) = json.loads(result.stdout)["results"]
    (output,) = measured["outputs"]
    manifest = Bundle(output, check_hashes=True).manifest
    assert (manifest.recipe.name, manifest.adapters.mode) == ("fp32", "speech")
    files = [path.stat().st_size for path in Path(output).rglob("*") if path.is_file()]
    assert measured["median"]["output_bytes"] == sum(files)


@pytest.mark.usefixtures("installed")
def test_a_peer_is_measured_beside_it(checkpoint: Path, work: Path, tmp_path: Path):
    """The peer's command line is the one that its documentation gives, tuned."""
    convert = 'echo "$@" > ' + str(tmp_path / "arguments") + "; mkdir $5; head -c 1000 /dev/zero > $5/model.onnx"
    python = _fake_python(tmp_path / "python", convert)
    result = _run("export", checkpoint, "--recipe", "fp32", "--work", work, *_peer(python))
    assert result.exit_code == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["edgephi", "onnxruntime-genai"]
    assert rows[1].split("│")[2].strip() == "9.9.9"
    assert "\x1b" not in result.stdout
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:3] == [_GENAI_MODULE, "-i", str(checkpoint)]
    assert arguments[-5:] == [
        "--extra_options", "block_size=128", "prune_lm_head=true", "shared_embeddings=true", "accuracy_level=4",
    ]  # fmt: skip
    assert not list(work.iterdir())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("version", "convert", "reason"),
    [
        ("exit 1", "exit 0", "has no onnxruntime-genai; make an environment"),
        ("echo 9.9.9", "mkdir $5; echo 'ImportError: no torch'; exit 1", "ImportError: no torch"),
        ("echo 9.9.9", "exit 0", "ended without an error, but made no onnxruntime-genai-1"),
    ],
)
def test_a_peer_that_is_missing_or_fails_is_named(
    checkpoint: Path, work: Path, tmp_path: Path, version: str, convert: str, reason: str
):
    """What was measured is shown; but a comparison without its other half is no success."""
    python = _fake_python(tmp_path / "python", convert, version)
    result = _run("export", checkpoint, "--recipe", "fp32", "--work", work, "--keep", "--json", *_peer(python))
    assert result.exit_code == 1
    ours, peer = json.loads(result.stdout)["results"]
    assert ours["samples"]
    assert reason in peer["error"]
    assert (peer["samples"], peer["median"], peer["outputs"]) == ([], None, [])
    assert "error: onnxruntime-genai was not measured:" in result.stderr
    assert len(list(work.iterdir())) == 1  # a failed run's output is not kept


@pytest.mark.usefixtures("installed")
def test_a_failing_export_shows_its_own_error(checkpoint: Path, work: Path):
    result = _run("export", checkpoint, "--recipe", "int3", "--work", work)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: edgephi: unknown recipe 'int3'")
    assert not list(work.iterdir())


def test_what_cannot_be_measured_is_refused_at_once(checkpoint: Path, tmp_path: Path):
    result = _run("export", "microsoft/Phi-4-mini-instruct")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "give a checkpoint's local folder" in result.stderr
    result = _run("export", checkpoint, "--work", tmp_path / "missing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "missing: cannot be written" in result.stderr
    assert _run("export", checkpoint, "--runs", 0).exit_code == 2


@pytest.mark.usefixtures("installed")
def test_a_users_shell_can_stop_it_and_nothing_stays(checkpoint: Path, work: Path, tmp_path: Path):
    """SIGTERM in the middle of a conversion: that process ends too, and the folder of outputs is removed."""
    python = _fake_python(tmp_path / "python", "mkdir $5; echo converting $$; sleep 60")
    arguments = ["export", checkpoint, "--recipe", "fp32", "--work", work, *_peer(python)]
    command = [sys.executable, "-m", "edgephi", "bench", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("converting"))
        assert list(work.iterdir())
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (143, "")
    assert "Traceback" not in stderr
    assert not list(work.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(int(line.split()[1]), 0)


def test_synthetic_refusals_have_their_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=7_000_000_000))
    taken = tmp_path / "taken"
    taken.mkdir()
    for arguments, code, message in (
        (["phi3", "-o", taken], 2, "already exists"),
        (["phi3", "-o", taken, "--force"], 2, "not a synthetic checkpoint"),
        (["phi5", "-o", tmp_path / "x"], 2, "'phi5' is not one of"),
        (["phi3", "-o", tmp_path / "x"], 4, "the disk has 7.00 GB free"),
    ):
        result = _run("synthetic", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert not list(taken.iterdir())


def test_synthetic_says_what_it_made(tmp_path: Path, small: Sizes, monkeypatch: pytest.MonkeyPatch):
    """The command has no option for widths, so the test puts small ones in."""
    monkeypatch.setattr("edgephi_bench.commands.synthetic.Sizes", lambda **_: small)
    result = _run("synthetic", "phi3", "-o", tmp_path / "mini", "--layers", 2, "--seed", 5)
    assert result.stdout.startswith(f"{tmp_path / 'mini'}: phi3 with 2 layers, random weights of seed 5, ")
    assert result.stderr.splitlines()[0] == "writing model-00001-of-00003.safetensors"
    assert json.loads((tmp_path / "mini" / "synthetic.json").read_text())["seed"] == 5


@pytest.mark.usefixtures("installed")
def test_stopped_writing_leaves_nothing(tmp_path: Path):
    """SIGTERM in the middle of the weights: a half checkpoint would be gigabytes that nothing can read."""
    command = [sys.executable, "-m", "edgephi", "bench", "synthetic", "phi3", "--layers", "1", "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "mini")], stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "writing model.safetensors\n"
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (143, "interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_a_full_size_layer_needs_little_memory(tmp_path: Path):
    """One decoder layer and both towers at true width: 3.3 GB of files, from a machine that may have 2."""
    from edgephi_bench.measure.subprocess_run import measure_command  # noqa: PLC0415

    command = [sys.executable, "-m", "edgephi", "bench", "synthetic", "phi4mm", "-o", "x", "--layers", "1"]
    command[-3] = str(tmp_path / "x")
    usage = measure_command(command)
    assert usage.peak_bytes < 300 * MB
    assert usage.disk_written_bytes > 2000 * MB


def test_help_loads_nothing_heavy():
    """Help must come at once on a slow device, and without the packages that the commands need."""
    code = (
        "import sys\nfrom edgephi_bench.commands.main import bench\n"
        "for words in ([], ['export'], ['synthetic']):\n"
        "    try: bench([*words, '--help'])\n"
        "    except SystemExit: pass\n"
        "sys.exit(bool({'numpy', 'rich', 'onnxruntime', 'edgephi_export'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
