"""A Hugging Face id, against a hub on this machine, in processes of their own with nothing of the library replaced."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgephi.bundle.bundle import Bundle
from support.bundles import small_checkpoint
from support.checkpoints import Layout
from support.fake_hub import COMMIT, FakeHub, HubRequest
from support.forked import run_forked
from support.hub_process import START, hub_environment
from support.tensor_files import change_json

MODEL = "microsoft/Phi-4-small"
_EXPORT = (
    START
    + """
from edgephi.cli.main import CommandGroup
from edgephi_export.commands.export import export
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: export
group(["export", *__import__("sys").argv[1:]], prog_name="edgephi")
"""
)
_LOCATE = (
    START
    + """
import json, sys
from edgephi.base.errors import EdgeError
from edgephi_export.hub.download import locate
code = 0
for argument in sys.argv[1:]:
    try:
        found = locate(*argument.split("@"))
        print(json.dumps([str(found.folder), found.id, found.revision]))
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
sys.exit(code)
"""
)
SMALL = ["config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
NEEDED: dict[Layout, list[str]] = {
    "phi3": [*SMALL, "model.safetensors"],
    "original": [*SMALL, "model.safetensors.index.json", *SHARDS],
    "native": [
        *SMALL,
        "chat_template.jinja",
        "model.safetensors",
        *(f"{a}-lora/{f}" for a in ("speech", "vision") for f in ("adapter_config.json", "adapter_model.safetensors")),
    ],
}
#: What real repositories hold besides, and nobody wants on a small disk.
BALLAST = (
    "modeling_phi4mm.py", "merges.txt", "pytorch_model.bin", "phi4-Q4_K_M.gguf", "onnx/model.onnx",
    "onnx/model.onnx.data", "figures/vision_radar.png", "examples/what_is_shown.wav", "original/model.safetensors",
    "vision-lora/special_tokens_map.json", "consolidated.safetensors",
)  # fmt: skip


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


def _repository(hub: FakeHub, tmp_path: Path, layout: Layout = "phi3") -> Path:
    """A copy of a small checkpoint, among files that an export does not read, served as MODEL."""
    folder = Path(shutil.copytree(small_checkpoint(layout).path, tmp_path / "repository"))
    for name in BALLAST:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"ballast")
    hub.add(MODEL, folder)
    return folder


def _run(hub: FakeHub, tmp_path: Path, code: str, *arguments: object, **environment: str) -> Any:
    return run_forked(code, list(map(str, arguments)), hub_environment(hub, tmp_path) | environment)


def _located(done: Any) -> list[tuple[Path, str, str]]:
    """Folder, id and commit of each checkpoint that was located; all of them were, and nothing was said."""
    assert (done.returncode, done.stderr) == (0, "")
    return [(Path(folder), name, commit) for folder, name, commit in map(json.loads, done.stdout.splitlines())]


def _outside_cache(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in {"hf", "repository"})


def _refused(done: Any, words: str) -> None:
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    line = done.stderr.removeprefix(f"error: {MODEL}: no such folder here, and it could not be downloaded: ")
    assert line != done.stderr
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert words in line


@pytest.mark.parametrize("layout", ["phi3", "original", "native"])
def test_only_what_an_export_reads_is_downloaded(hub: FakeHub, tmp_path: Path, layout: Layout):
    """The real repositories hold several times more than an export needs."""
    folder = _repository(hub, tmp_path, layout)
    [(path, name, revision)] = _located(_run(hub, tmp_path, _LOCATE, MODEL))
    fetched = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    assert fetched == sorted(file for file in NEEDED[layout] if (folder / file).is_file())
    assert all((path / file).read_bytes() == (folder / file).read_bytes() for file in fetched)
    assert sorted(set(map(os.path.basename, hub.files()))) == sorted(set(map(os.path.basename, fetched)))
    assert not set(hub.files("HEAD")) & set(BALLAST)
    assert (name, revision) == (MODEL, COMMIT)


def test_the_model_folder_names_the_id_and_the_commit(hub: FakeHub, tmp_path: Path):
    """And equals one that was exported from the folder: a download changes nothing else."""
    _repository(hub, tmp_path)
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["source"], report["revision"]) == (MODEL, COMMIT)
    manifest = Bundle(tmp_path / "out", check_hashes=True).manifest
    assert (manifest.source.id, manifest.source.revision) == (MODEL, COMMIT)
    for name in ("consolidated.safetensors", "pytorch_model.bin"):  # never downloaded; in a folder they are refused
        (tmp_path / "repository" / name).unlink()
    local = _run(hub, tmp_path, _EXPORT, tmp_path / "repository", "-o", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    assert manifest.files == Bundle(tmp_path / "local").manifest.files


def test_a_second_export_needs_no_network(hub: FakeHub, tmp_path: Path):
    _repository(hub, tmp_path, "original")
    assert _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "first").returncode == 0
    hub.stop()
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "second")
    assert done.returncode == 0, done.stderr
    first, second = (Bundle(tmp_path / name, check_hashes=True).manifest for name in ("first", "second"))
    assert first.files == second.files
    assert second.source.revision == COMMIT
    assert _located(_run(hub, tmp_path, _LOCATE, MODEL, HF_HUB_OFFLINE="1"))[0][2] == COMMIT


def test_nothing_is_asked_twice(hub: FakeHub, tmp_path: Path):
    """With the hub there, only the branch is looked up again: not the weights, nor the files it does not have."""
    _repository(hub, tmp_path)
    _located(_run(hub, tmp_path, _LOCATE, MODEL))
    hub.asked.clear()
    _located(_run(hub, tmp_path, _LOCATE, MODEL))
    assert hub.asked == [HubRequest(method="HEAD", file="config.json", range=None, authorized=False)]


def test_a_new_commit_is_noticed(hub: FakeHub, tmp_path: Path):
    folder = _repository(hub, tmp_path)
    _located(_run(hub, tmp_path, _LOCATE, MODEL))
    newer = Path(shutil.copytree(folder, tmp_path / "repository" / "newer"))
    change_json(newer / "generation_config.json", lambda content: content.update(note="new"))
    hub.add(MODEL, newer, commit="f" * 40)
    hub.asked.clear()
    [(path, _, revision)] = _located(_run(hub, tmp_path, _LOCATE, MODEL))
    assert revision == "f" * 40
    assert (path / "generation_config.json").read_bytes() == (newer / "generation_config.json").read_bytes()
    assert hub.files() == ["generation_config.json"]  # the cache knows the others by their content


def test_an_interrupted_download_goes_on_where_it_stopped(hub: FakeHub, tmp_path: Path):
    """A shard of the real model is 5 GB. New versions of the library go on by themselves, older ones when run again."""
    folder = _repository(hub, tmp_path, "original")
    size = (folder / SHARDS[0]).stat().st_size
    hub.break_off(after=size // 2, times=1)
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out")
    if done.returncode != 0:
        _refused(done, "run it again to go on from there")
        assert _outside_cache(tmp_path) == []
        done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    first, second = (asked.range for asked in hub.asked if asked.method == "GET" and asked.file == SHARDS[0])
    assert first is None
    assert 0 < int(str(second).removeprefix("bytes=").removesuffix("-")) <= size // 2
    Bundle(tmp_path / "out", check_hashes=True)


def test_an_incomplete_cache_is_not_taken_for_a_checkpoint(hub: FakeHub, tmp_path: Path):
    """Without the network, the rest must not be reported as missing; with it, what is complete is not read again."""
    _repository(hub, tmp_path, "original")
    hub.break_off(after=0, times=100)
    _refused(_run(hub, tmp_path, _LOCATE, MODEL), "run it again to go on from there")
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out", HF_HUB_OFFLINE="1")
    _refused(done, "HF_HUB_OFFLINE is set, and it is not complete in the cache")
    assert _outside_cache(tmp_path) == []
    hub.break_off(after=0, times=0)
    hub.asked.clear()
    _located(_run(hub, tmp_path, _LOCATE, MODEL))
    assert hub.files() == SHARDS


def test_ctrl_c_stops_a_download_at_once(hub: FakeHub, tmp_path: Path):
    """Not when the file it is in the middle of is complete, which may take half an hour."""
    _repository(hub, tmp_path, "original")
    hub.break_off(after=20_000, times=1, hold=True)
    command = [sys.executable, "-c", _EXPORT, MODEL, "-o", str(tmp_path / "out")]
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=hub_environment(hub, tmp_path), **settings) as running:
        try:
            assert hub.dropped.wait(timeout=30)
            running.send_signal(signal.SIGINT)
            stdout, stderr = running.communicate(timeout=30)
        finally:
            running.kill()
    assert (running.returncode, stdout, stderr) == (130, "", "interrupted\n")
    assert _outside_cache(tmp_path) == []


_NO_SUCH = "no such repository, or not one for you; check the id, and set HF_TOKEN if it is private"
_GATED = "it is gated; ask for access on its page, then set HF_TOKEN"
_UNKNOWN_TOKEN = "the hub does not know this HF_TOKEN; renew it, or unset it for a public repository"
_OR_ELSE = "and it is not complete in the cache; check the network, or download it elsewhere and pass its folder"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, {"some/typo": _NO_SUCH, "some/private": _NO_SUCH, "some/gated": _GATED}),
        ("hf_known", {"some/typo": _NO_SUCH, "some/private": _NO_SUCH, "some/gated": _GATED}),
        ("hf_wrong", {MODEL: _UNKNOWN_TOKEN, "some/gated": _UNKNOWN_TOKEN}),
    ],
)
def test_what_the_hub_refuses_is_one_line_each(hub: FakeHub, tmp_path: Path, token: str | None, words: dict[str, str]):
    folder = _repository(hub, tmp_path)
    hub.add("some/private", folder).private = True
    hub.add("some/gated", folder).gated = True
    hub.tokens = {"hf_known"}
    done = _run(hub, tmp_path, _LOCATE, *words, **({} if token is None else {"HF_TOKEN": token}))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"error: {name}: no such folder here, and it could not be downloaded: {line}" for name, line in words.items()
    ]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("down", f"the hub cannot be reached, {_OR_ELSE}"),
        ("broken", f"the hub answers with error 503, {_OR_ELSE}"),
        ("offline", "HF_HUB_OFFLINE is set, and it is not complete in the cache; unset it, or download it elsewhere "
                    "and pass its folder"),
    ],
)  # fmt: skip
def test_without_a_hub_the_way_on_is_said(hub: FakeHub, tmp_path: Path, case: str, words: str):
    _repository(hub, tmp_path)
    if case == "down":
        hub.stop()
    hub.broken = 503 if case == "broken" else None
    environment = {"HF_HUB_OFFLINE": "1"} if case == "offline" else {}
    _refused(_run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out", **environment), words)
    assert _outside_cache(tmp_path) == []
    assert case != "offline" or not hub.asked


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_a_token_opens_what_it_may(hub: FakeHub, tmp_path: Path, kind: str):
    """And goes to the hub alone, not to the host that stores the weights."""
    _repository(hub, tmp_path)
    setattr(hub.repositories[MODEL], kind, True)
    hub.tokens = {"hf_known"}
    hub.repositories[MODEL].readers = frozenset(hub.tokens)
    _located(_run(hub, tmp_path, _LOCATE, MODEL, HF_TOKEN="hf_known"))
    weights = [asked for asked in hub.asked if asked.file == "model.safetensors"]
    assert [(asked.method, asked.authorized) for asked in weights] == [("HEAD", True), ("GET", False)]


def test_a_model_of_another_kind_is_refused_before_its_weights(hub: FakeHub, tmp_path: Path):
    folder = _repository(hub, tmp_path)
    change_json(folder / "config.json", lambda content: content.update(model_type="llama"))
    done = _run(hub, tmp_path, _LOCATE, MODEL)
    assert done.returncode == 3
    assert "config.json: unknown model_type 'llama'; supported: " in done.stderr
    assert hub.files() == ["config.json"]


def test_a_repository_without_a_checkpoint_is_refused(hub: FakeHub, tmp_path: Path):
    folder = _repository(hub, tmp_path)
    (folder / "config.json").unlink()
    done = _run(hub, tmp_path, _LOCATE, MODEL)
    assert done.returncode == 3
    assert done.stderr == (
        f"error: {MODEL}: the repository has no config.json; give one with a checkpoint in safetensors\n"
    )


def test_an_index_cannot_lead_outside_the_repository(hub: FakeHub, tmp_path: Path):
    folder = _repository(hub, tmp_path, "original")
    places = {"weight_map": {"model.norm.weight": "../../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(places))
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "'../../secret.safetensors' is not the name of a safetensors file" in done.stderr
    assert not any("secret" in file for file in hub.files("HEAD"))


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: FakeHub, tmp_path: Path):
    folder = _repository(hub, tmp_path)
    older = Path(shutil.copytree(folder, tmp_path / "repository" / "older"))
    change_json(older / "config.json", lambda content: content.update(note="older"))
    repository = hub.repositories[MODEL]
    repository.commits["b" * 40] = older
    repository.branches |= {"v1.0": "b" * 40, "refs/pr/7": "b" * 40}
    asked = [f"{MODEL}@{revision}" for revision in ("v1.0", "refs/pr/7", "b" * 40)]
    for path, _, commit in _located(_run(hub, tmp_path, _LOCATE, *asked)):
        assert commit == "b" * 40
        assert json.loads((path / "config.json").read_text())["note"] == "older"
    done = _run(hub, tmp_path, _LOCATE, f"{MODEL}@v2")
    _refused(done, "it has no revision 'v2'; give one of its branches, tags or commits")


def test_the_command_takes_a_revision(hub: FakeHub, tmp_path: Path):
    _repository(hub, tmp_path)
    hub.repositories[MODEL].branches = {"v1.0": COMMIT}
    done = _run(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out", "--revision", "v1.0")
    assert done.returncode == 0, done.stderr
    assert Bundle(tmp_path / "out").manifest.source.revision == COMMIT


def test_progress_shows_on_a_terminal_alone(hub: FakeHub, tmp_path: Path):
    """A log file full of half-drawn bars helps nobody; an hour of silence on a terminal neither."""
    _repository(hub, tmp_path)
    shown = _on_a_terminal(hub, tmp_path, _LOCATE, MODEL)
    assert "model.safetensors: 100%" in shown
    shutil.rmtree(tmp_path / "hf")
    assert _run(hub, tmp_path, _LOCATE, MODEL).stderr == ""


def test_the_bars_of_a_download_and_of_an_export_take_turns(hub: FakeHub, tmp_path: Path):
    """Drawn at once, every step of the one scrolls the other away."""
    _repository(hub, tmp_path)
    shown = _on_a_terminal(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out")
    download, _, writing = shown.partition("\N{BOX DRAWINGS HEAVY HORIZONTAL}")  # what the export's bar is made of
    assert "model.safetensors: 100%" in download
    assert " GB in, " in writing
    assert "%|" not in writing
    assert shown.count("\n") < 20


def test_json_is_not_disturbed_by_a_download(hub: FakeHub, tmp_path: Path):
    _repository(hub, tmp_path)
    assert _on_a_terminal(hub, tmp_path, _EXPORT, MODEL, "-o", tmp_path / "out", "--json") == ""


def _on_a_terminal(hub: FakeHub, tmp_path: Path, code: str, *arguments: object) -> str:
    """What a run shows on a terminal of 100 columns that is its stderr."""
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shown: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(leader, shown), daemon=True)
    reader.start()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = hub_environment(hub, tmp_path) | {"TERM": "xterm"}
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=follower, env=environment, timeout=120)
    os.close(follower)
    reader.join(timeout=10)
    os.close(leader)
    return b"".join(shown).decode()


def _drain(terminal: int, shown: list[bytes]) -> None:
    """Read until the other side closes; a terminal that nobody reads would block its writer."""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 1 << 16):
            shown.append(data)
