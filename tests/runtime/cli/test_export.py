"""`edgephi export` through its front door: stdout for the result, stderr for the rest, and the right exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import edgephi_export
from edgephi.base.atomic_write import staged
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.cli.main import CommandGroup
from edgephi_export.commands.export import export
from edgephi_export.exporter import MODEL_FOLDER
from support.bundles import small_checkpoint

#: The real group, with the command put in directly: whether it is installed as an entry point is another test's matter.
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: export  # type: ignore[method-assign]


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(group, ["export", *map(str, arguments)])


def test_a_sentence_on_stdout_and_steps_on_stderr(tmp_path: Path):
    result = _run(small_checkpoint().path, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tmp_path / 'out'}: takes text, vision, speech; adapters routed; recipe int4; ")
    assert "; replies end at <|end|>, <|endoftext|>; 2." in result.stdout
    assert result.stdout.count("\n") == 1
    stages = ["decoder", "adapter_vision", "adapter_speech", "vision", "speech", "graphs"]
    assert sorted(result.stderr.splitlines()) == sorted(f"writing {stage}" for stage in stages)


def test_json_is_one_object(tmp_path: Path):
    out = tmp_path / "out"
    result = _run(small_checkpoint().path, "-o", out, "--adapters", "speech", "--json")
    report = json.loads(result.stdout)
    assert report.pop("seconds") >= 0
    assert report == {
        "path": str(out),
        "source": "checkpoint-native-0",
        "revision": None,
        "recipe": "int4",
        "recipe_file": None,
        "adapters": "speech",
        "modalities": ["text", "speech"],
        "ends": ["<|end|>", "<|endoftext|>"],
        "not_applied": [],
        "licence": None,
        "bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
    }


def test_modalities_are_a_list_of_words(tmp_path: Path):
    assert _run(small_checkpoint().path, "-o", tmp_path / "out", "--modalities", "speech, text").exit_code == 0
    assert Bundle(tmp_path / "out").manifest.modalities == ("text", "speech")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--recipe", "int3"], 2, "error: unknown recipe 'int3'; known: fp32"),
        (["--modalities", "text,smell"], 2, "error: unknown modality 'smell'"),
        (["--adapters", "speech", "--modalities", "text,vision,speech"], 2, "error: --adapters speech merges"),
        (["--adapters", "all"], 2, "Invalid value for '--adapters'"),
    ],
)
def test_impossible_options_are_usage_errors(tmp_path: Path, arguments: list[str], code: int, message: str):
    result = _run(small_checkpoint().path, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not result.stdout
    assert not list(tmp_path.iterdir())


def test_a_missing_checkpoint_is_exit_code_3(tmp_path: Path):
    result = _run(tmp_path / "nothing", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert result.stderr == (
        f"error: {tmp_path / 'nothing'}: no such checkpoint; give a folder with config.json or a Hugging Face id\n"
    )


def test_an_existing_folder_needs_force(tmp_path: Path):
    arguments = (small_checkpoint("phi3").path, "-o", tmp_path / "out")
    assert _run(*arguments).exit_code == 0
    refused = _run(*arguments)
    assert refused.exit_code == 2
    assert "already exists; choose another folder, or --force" in refused.stderr
    assert _run(*arguments, "--force").exit_code == 0


@pytest.fixture
def handled():
    """Sets a signal's handling for one test; whoever runs the tests may ignore it, as nohup does."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield signal.signal
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handled, number):
    handled(number, signal.SIG_DFL)

    def stop(*arguments: object) -> None:
        assert signal.getsignal(number) is not signal.SIG_DFL  # the default would end the test run
        with staged(tmp_path / "out", MODEL_FOLDER, force=False):
            signal.raise_signal(number)

    monkeypatch.setattr("edgephi_export.exporter.export", stop)
    assert _run("checkpoint", "-o", tmp_path / "out").exit_code == 130
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_signal_that_is_ignored_does_not_stop_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handled):
    """A long export started with nohup goes on when the terminal closes."""
    handled(signal.SIGHUP, signal.SIG_IGN)

    export = edgephi_export.export

    def interrupted(*arguments) -> Path:
        signal.raise_signal(signal.SIGHUP)
        return export(*arguments)

    monkeypatch.setattr("edgephi_export.exporter.export", interrupted)
    assert _run(small_checkpoint("phi3").path, "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / MANIFEST_NAME).is_file()


def test_help_shows_the_command_to_copy():
    text = CliRunner().invoke(export, ["--help"]).output
    assert "edgephi export microsoft/Phi-4-multimodal-instruct -o phi4mm" in text
    assert "edgephi export ./Phi-4-multimodal-instruct -o ears --adapters speech" in text


def test_a_terminal_gets_a_bar_on_stderr(tmp_path: Path):
    """Run under a pseudo terminal; stdout must still hold the one line alone."""
    leader, follower = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(leader, shown), daemon=True)
    reader.start()
    code = "from edgephi_export.commands.export import export; export()"
    command = [sys.executable, "-c", code, str(small_checkpoint("phi3").path), "-o", str(tmp_path / "out")]
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=follower, env=environment, timeout=120)
    os.close(follower)
    reader.join(timeout=10)
    assert done.stdout.startswith(f"{tmp_path / 'out'}: takes text;".encode())
    assert done.stdout.count(b"\n") == 1
    assert b"writing" not in b"".join(shown)
    for part in (b"14/14 tensors", b"GB in", b"GB out", b"MB/s", b"s left"):
        assert part in b"".join(shown)


def test_json_is_quiet_on_stderr(tmp_path: Path):
    """A program that reads the object must be able to separate progress from errors."""
    assert _run(small_checkpoint("phi3").path, "-o", tmp_path / "out", "--json").stderr == ""


def _drain(terminal: int, shown: list[bytes]) -> None:
    """Read until the other side closes; a terminal that nobody reads would block its writer."""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            shown.append(data)
