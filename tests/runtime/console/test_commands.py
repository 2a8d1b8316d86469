"""Typing slips, folders named by the environment, errors for programs: what is around every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgephi.base.errors import NOT_AS_RECORDED, ArtifactError, CapacityError, ConfigError, EdgeError
from support.bundles import small_bundle
from support.media_files import write_recording
from support.shell import invoke, spawn

FEW = ("--max-new-tokens", 3, "--threads", 1)
DOC = (Path(__file__).parents[3] / "docs" / "exit-codes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("typed", "meant"), [("rnu", "run"), ("RUN", "run"), ("transcibe", "transcribe"), ("exprot", "export")]
)
def test_a_slip_in_a_commands_name_is_answered_with_the_name(typed: str, meant: str):
    done = invoke(typed, "m", "hello")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"no such command {typed!r}; did you mean {meant}?" in done.stderr


def test_a_name_like_none_lists_what_there_is():
    assert re.search(r"no such command 'xyzzy'; commands: .*chat.*run.*transcribe", invoke("xyzzy").stderr)


@pytest.mark.parametrize("slip", ["cmpare", "shwo", "exprot"])
def test_a_slip_in_a_bench_command_is_no_model_folder(slip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("bench", slip, "a.json", "b.json")
    assert done.exit_code == 2
    assert f"no model folder and no command {slip!r}; did you mean " in done.stderr


@pytest.mark.parametrize("name", ["model", "show", "compare", "export"])
@pytest.mark.parametrize("options", [(), ("--runs", "1")])
def test_a_folder_named_as_a_bench_command_is_never_taken_for_it_in_silence(
    name: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / "edgephi.json").write_text("{}", encoding="utf-8")
    done = invoke("bench", name, *options)
    assert done.exit_code == 2
    assert f"write ./{name} for the folder" in " ".join(done.stderr.split())
    as_folder = invoke("bench", f"./{name}", *options)
    assert as_folder.exit_code == 3  # it is taken for the model folder, which is damaged
    assert f"{name}/edgephi.json" in as_folder.stderr
    assert "Usage: edgephi bench" in invoke("bench", name, "--help").stdout


def test_a_folder_near_a_commands_name_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "modell").mkdir()
    assert "not an edgephi model folder" in invoke("bench", "modell").stderr


def _ids(*arguments: object) -> list[int]:
    done = invoke(*arguments, *FEW, "--json")
    assert done.exit_code == 0, done.stderr
    ids: list[int] = json.loads(done.stdout)["token_ids"]
    return ids


def test_the_model_folder_and_threads_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = _ids("run", small_bundle(), "hello")
    recording = write_recording(tmp_path / "a.wav")
    ids = _ids("run", small_bundle(), "--audio", recording)
    monkeypatch.setenv("EDGEPHI_MODEL", str(small_bundle()))
    monkeypatch.setenv("EDGEPHI_THREADS", "1")
    assert _ids("run", "hello") == expected
    assert _ids("run", "--max-crops", 1, "hello") == expected
    assert _ids("run", "--audio", recording) == ids
    assert invoke("chat", *FEW, stdin="hello\n").exit_code == 0
    assert "takes" in invoke("inspect").stdout
    assert invoke("transcribe", recording, "--threads", 1).exit_code == 0
    assert _ids("run", small_bundle(), "hello") == expected
    monkeypatch.setenv("EDGEPHI_MODEL", "nowhere")
    assert _ids("run", small_bundle(), "hello") == expected  # the command line counts
    refused = invoke("run", "hello")
    assert refused.exit_code == 3
    assert "nowhere: no such model folder" in refused.stderr
    monkeypatch.setenv("EDGEPHI_THREADS", "none")
    assert invoke("run", small_bundle(), "hello").exit_code == 2


def test_a_folder_from_the_environment_is_not_mixed_up_with_one_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EDGEPHI_MODEL", str(small_bundle()))
    assert invoke("run", tmp_path, "hello").exit_code == 3  # an existing folder is MODEL, even if it is none
    assert invoke("run", "typo", "hello").exit_code == 3  # two words are MODEL and PROMPT
    assert invoke("run", "--no-such-option").exit_code == 2
    assert invoke("run", "--help").exit_code == 0


FAILING: list[tuple[tuple[object, ...], str, int]] = [
    (("run", "nowhere", "hello"), "ArtifactError", 3),
    (("run", small_bundle(), "hello", "--top-p", "7"), "ConfigError", 2),
    (("run", small_bundle(), "hello", "--no-such-option"), "UsageError", 2),
    (("run",), "UsageError", 2),
    (("run", small_bundle(), "hello " * 50, "--max-context", "20"), "CapacityError", 4),
    (("inspect", "nowhere"), "ArtifactError", 3),
    (("verify", "nowhere"), "ArtifactError", 3),
    (("rnu", "nowhere"), "UsageError", 2),
    (("bench", "nowhere-at-all"), "ArtifactError", 3),
]


@pytest.mark.parametrize(("arguments", "kind", "code"), FAILING, ids=[" ".join(map(str, a))[-40:] for a, *_ in FAILING])
def test_a_failure_is_json_for_whoever_asked_for_json(arguments: tuple[object, ...], kind: str, code: int):
    done = invoke(*arguments, "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.exit_code, error["type"], error["exit_code"]) == (code, kind, code)
    assert error["message"] in " ".join(done.stderr.split())
    assert invoke(*arguments).stdout == ""  # for people stdout stays empty


def test_a_prompt_that_looks_like_the_option_is_no_wish_for_json():
    done = invoke("run", "nowhere", "--", "--json")
    assert (done.exit_code, done.stdout) == (3, "")


def test_the_document_names_every_code_of_the_errors():
    documented = {
        int(code) for codes in re.findall(r"^\| ([0-9, ]+) \|", DOC, re.MULTILINE) for code in codes.split(",")
    }
    known = {kind.exit_code for kind in (EdgeError, ConfigError, ArtifactError, CapacityError)}
    assert known | {0, NOT_AS_RECORDED, 129, 130, 141, 143} == documented
    for kind in (EdgeError, ConfigError, ArtifactError, CapacityError):
        assert kind.__name__ in DOC


@pytest.mark.parametrize("command", ["run", "chat"])
def test_help_lists_options_by_what_they_are_about(command: str):
    shown = spawn(command, "--help").stdout
    titles = re.findall(r"^(\w+) options:$", shown, re.MULTILINE)
    assert titles == ["Prompt", "Sampling", "Reply", "Model", "Output"]
    sections = re.split(r"^(?:\w+ o|O)ptions:$", shown, flags=re.MULTILINE)[1:]
    assert max(section.count("\n  -") for section in sections) <= 10


@pytest.mark.parametrize(
    ("command", "former"), [(("doctor",), "--context"), (("bench", "model", "nowhere"), "--memory-context")]
)
def test_an_options_former_name_still_serves_but_is_not_shown(command: tuple[str, ...], former: str):
    assert former not in re.sub(r"--max-context", "", invoke(*command, "--help").stdout)
    assert invoke(*command, former, "none").exit_code == 2
    assert "'--max-context'" in invoke(*command, former, "none").stderr


@pytest.mark.parametrize("command", ["run", "chat", "transcribe", "doctor", "inspect", "demo", "verify"])
def test_help_has_one_word_for_each_thing(command: str):
    shown = invoke(command, "--help").stdout
    assert not re.search(r"\b(bundles?|pictures?|clips?|positions)\b", shown, re.IGNORECASE)
