"""`edgephi bench MODEL` through its front door, on a small model."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgephi.bundle.bundle import Bundle
from edgephi.cli.main import CommandGroup
from edgephi.generation.sampler import SamplingOptions
from edgephi.model import Model
from edgephi_bench.commands.main import bench
from edgephi_bench.engines.workers.edgephi_requests import SENTINEL_PROMPT
from edgephi_bench.latency import decoding, rounds
from edgephi_bench.latency import run as latency
from edgephi_bench.measure.modes import modes
from edgephi_bench.measure.roofline import step_bytes
from support.bundles import small_bundle

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]
_QUICK = ("--runs", "1", "--new-tokens", "3", "--prompt-tokens", "20", "--depths", "0,7", "--threads", "1")
_FAKE_ENGINE = """
import json

def prepare(): pass
def open_engine(options): return Engine(options)

class Engine:
    version = "fake 9"
    def __init__(self, options):
        assert options["threads"] == 1
        self.longest = options["max_positions"]
    def request(self, depth, tokens):
        assert depth + tokens <= self.longest
        {request}
    def prefill(self, tokens): return [1000.0]
    def decode(self, depth, tokens): {decode}
"""


@pytest.fixture(autouse=True)
def quick(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(decoding, "MemoryReader", _FakeSpeed)


class _FakeSpeed:
    """Memory that every thread reads at 10 GB/s, and once read at 16."""

    num_bytes = 1 << 30

    def measure(self, threads: int) -> float:
        return 10e9 * threads

    def best(self, threads: int) -> float:
        return 16e9 * threads


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["bench", *map(str, arguments)])


def _report(result: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def _keys(content: dict[str, Any], runner: str = "edgephi") -> set[tuple[str, str, str]]:
    return {(f["mode"], f["name"], f["condition"]) for f in content["figures"] if f["runner"] == runner}


@pytest.mark.slow
def test_every_part_is_measured_in_every_mode(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = ("--audio-s", "1", "--image", "80x60", "--memory-context", "64", "--sweep", "1,2", "--html", page)
    result = _run(small_bundle(), *_QUICK, *options, "--json")
    assert result.exit_code == 0, result.stderr
    content = _report(result)
    keys = _keys(content)
    names = {(mode, name) for mode, name, _ in keys}
    for mode in ("text", "speech", "vision"):
        stages = {"preprocess", "prefill", "first token chosen", "decode", "detokenize"}
        stages |= {"encode"} if mode != "text" else set()
        assert {(mode, f"stage: {stage}") for stage in stages} <= names
        wanted = {"time to first token", "time per output token", "end to end", "peak resident size"}
        assert {(mode, name) for name in wanted} <= names
    assert {("text", "load, warm"), ("text", "prefill"), ("speech", "real-time factor")} <= names
    assert {("speech", "tokens per second of audio"), ("vision", "tokens per image")} <= names
    for condition in ("depth 0, 1 thread", "depth 7, 1 thread", "depth 0, 2 threads"):
        assert ("text", "decode step", condition) in keys
    assert {(mode, "decode step", "depth 0, 1 thread") for mode in ("speech", "vision")} <= keys
    assert len(content["floors"]) == sum(name == "decode step" for _, name, _ in keys)
    for floor in content["floors"]:
        adapter = "none" if floor["mode"] == "text" else floor["mode"]
        middle = (7 if "depth 7" in floor["condition"] else 0) + (3 - 2) / 2  # two steps: of 2 tokens after the first
        assert floor["num_bytes"] == step_bytes(Bundle(small_bundle()), adapter).at(middle)
        threads = 2 if "2 threads" in floor["condition"] else 1
        assert (floor["bandwidth"], floor["best_bandwidth"]) == (10e9 * threads, 16e9 * threads)
        (only,) = floor["rounds"]
        assert floor["reached"] == pytest.approx(floor["num_bytes"] / floor["bandwidth"] / only["mean_step_s"])
        assert floor["reached_of_best"] == pytest.approx(
            floor["num_bytes"] / floor["best_bandwidth"] / floor["median_s"]
        )
    assert len(content["output"]["sha256"]) == 64
    assert any(note.startswith("load, cold: not measured") for note in content["notes"])
    assert content["model"]["manifest_sha256"]
    assert "<svg" in page.read_text()


@pytest.mark.slow
def test_the_report_says_what_it_is_to_be_read_with() -> None:
    content = _report(_run(small_bundle(), *_QUICK, "--only", "decode,repeat,output", "--json"))
    (repeat,) = content["repeats"]
    assert len(repeat["processes"]) == 4  # the figure's own and three new ones
    assert repeat["spread"] >= 0
    rounds = {(item["round"]["mode"], item["round"]["condition"]) for item in content["rounds"]}
    assert ("text", "depth 0, 1 thread") in rounds
    assert all(item["round"]["number"] == 1 for item in content["rounds"])
    assert all(item["conditions"]["load"] is not None for item in content["rounds"])
    assert [item["mode"] for item in content["fixed"]] == ["text", "speech", "vision", "both"]
    known = {f["condition"]: f["known_as"] for f in content["figures"] if f["mode"] == "text"}
    assert known["depth 7, 1 thread"] == ["tg3 @ d7", "ITL"]


def test_a_grid_has_a_figure_for_every_pair() -> None:
    options = ("--prompt-tokens", "8,20", "--new-tokens", "2,3", "--depths", "0,7", "--runs", "1", "--threads", "1")
    content = _report(_run(small_bundle(modalities=("text",)), *options, "--only", "requests,prefill,decode", "--json"))
    keys = {(name, condition) for _, name, condition in _keys(content)}
    for new in (2, 3):
        assert {("decode step", f"depth {depth}, {new} new, 1 thread") for depth in (0, 7)} <= keys
        assert {("end to end", f"prompt of about {prompt} tokens, {new} new") for prompt in (8, 20)} <= keys
    assert {("prefill", f"{prompt} tokens, 1 thread") for prompt in (8, 20)} <= keys


@pytest.mark.slow
def test_a_users_own_prompts_are_measured_and_read_anew_every_time(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "word " * 40, "name": "long"}) + '\n{"prompt": "?", "images": ["red.png"]}\n')
    media = ("--audio-s", "1", "--image", "80x60")
    result = _run(small_bundle(), *_QUICK, *media, "--runs", "3", "--only", "requests", "--prompts", path, "--json")
    assert result.exit_code == 0, result.stderr
    figures = {(f["mode"], f["condition"], f["name"]): f for f in _report(result)["figures"]}
    assert ("vision", "own prompt, line 2", "stage: encode") in figures
    prefill = figures["text", "own prompt, long", "stage: prefill"]["samples"]
    other = figures["text", "prompt of about 20 tokens", "stage: prefill"]["median"]
    assert min(prefill) > other / 20  # a prompt that lay in the cache would take no time at all
    assert figures["text", "own prompt, long", "prompt tokens"]["samples"][0] > 40


def test_n_tokens_have_n_minus_one_steps() -> None:
    content = _report(_run(small_bundle(), *_QUICK, "--only", "decode,requests", "--json"))
    counts = {f["name"]: len(f["samples"]) for f in content["figures"] if f["mode"] == "text"}
    assert counts["decode step"] == counts["time per output token"] == 2


def test_only_what_was_asked_for_is_measured() -> None:
    content = _report(_run(small_bundle(), *_QUICK, "--only", "prefill", "--json"))
    assert _keys(content) == {("text", "prefill", "20 tokens, 1 thread")}
    assert (content["floors"], content["output"]) == ([], None)


def test_a_cold_load_is_measured_or_it_is_said_why_not() -> None:
    content = _report(_run(small_bundle(), "--only", "load", "--runs", "1", "--drop-cache", "--json"))
    cold = any(name == "load, cold" for _, name, _ in _keys(content))
    assert cold != any(note.startswith("load, cold: not measured, as only") for note in content["notes"])
    assert {name for _, name, _ in _keys(content)} >= {"load, warm", "start of a process, warm"}


def test_the_greedy_outputs_hash_is_that_of_the_models_own_reply() -> None:
    measured = _report(_run(small_bundle(), "--only", "output", "--threads", "1", "--json"))["output"]
    with Model.load(small_bundle(), threads=1) as model:
        ids = model.generate(SENTINEL_PROMPT, options=SamplingOptions(max_new_tokens=measured["tokens"])).token_ids
    assert measured["sha256"] == hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


@pytest.mark.slow
def test_a_model_with_a_merged_adapter_is_asked_only_what_it_answers() -> None:
    speech_only = small_bundle(adapters="speech", modalities=("text", "speech"))
    assert modes(Bundle(speech_only).manifest) == ("speech",)
    content = _report(_run(speech_only, *_QUICK, "--audio-s", "1", "--only", "requests,output,decode", "--json"))
    assert {mode for mode, name, _ in _keys(content) if name != "decode step"} == {"speech"}
    assert [floor["condition"] for floor in content["floors"]] == ["depth 0, 1 thread", "depth 7, 1 thread"]
    assert any(note.startswith("greedy output: not measured") for note in content["notes"])


_ANSWER = "return [depth, 1000.0, *[500.0] * (tokens - 1)]"


def _fake_peer(
    tmp_path: Path, decode: str = "return [0.5] * (tokens - 1)", request: str = _ANSWER
) -> tuple[object, ...]:
    """Options for an onnxruntime-genai that answers from a script, in this interpreter."""
    engine = tmp_path / "engine.py"
    engine.write_text(_FAKE_ENGINE.format(decode=decode, request=request))
    python = tmp_path / "python"
    # $1 is -I; then either -c and a program that imports the peer, or serve.py, the engine and its options.
    python.write_text(f'#!/bin/sh\n[ "$2" = -c ] && exit 0\nexec {sys.executable} -I "$2" {engine} "$4"\n')
    python.chmod(0o755)
    (tmp_path / "genai_config.json").write_text("{}")
    name = "onnxruntime-genai"
    return ("--peers", name, "--peer-python", f"{name}={python}", "--peer-model", f"{name}={tmp_path}")


@pytest.mark.slow
def test_the_int8_cache_is_measured_where_the_folder_has_it() -> None:
    bundle = small_bundle(recipe="int4", kv_cache="int8", modalities=("text",))
    found = {}
    for kind, parts in (("float", "decode"), ("int8", "decode,requests,output,memory")):
        asked = ("--kv-cache", kind) if kind == "float" else ()  # what such a folder runs with by itself
        options = ("--only", parts, *asked, "--max-context", "64", "--json")
        result = _run(bundle, *_QUICK, *options)
        assert result.exit_code == 0, result.stderr
        found[kind] = _report(result)
        assert found[kind]["kv_cache"] == kind
    few, many = ([floor["num_bytes"] for floor in found[kind]["floors"]] for kind in ("int8", "float"))
    assert many[1] - many[0] == 4 * (few[1] - few[0])


def test_an_int8_cache_that_the_folder_lacks_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "Worker", None)
    result = _run(small_bundle(), *_QUICK, "--kv-cache", "int8")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--kv-cache int8" in result.stderr


@pytest.mark.slow
def test_a_peer_is_measured_in_turn_and_compared(tmp_path: Path) -> None:
    result = _run(small_bundle(), *_QUICK, "--only", "decode,prefill,memory", *_fake_peer(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    content = _report(result)
    assert content["peers"] == [{"name": "onnxruntime-genai", "version": "fake 9", "error": None}]
    both = _keys(content) & _keys(content, "onnxruntime-genai")
    assert {name for _, name, _ in both} == {"decode step", "prefill", "peak resident size"}
    assert {ratio["name"] for ratio in content["ratios"]} == {"decode step", "prefill"}
    assert all(ratio["median"] > 1 for ratio in content["ratios"])


def test_a_peer_that_fails_midway_is_named_and_ours_is_measured_all_the_same(tmp_path: Path) -> None:
    peer = _fake_peer(tmp_path, "return [0.5] * (tokens - 1) if depth == 0 else 1 / 0")
    result = _run(small_bundle(), *_QUICK, "--only", "decode", *peer, "--json")
    assert result.exit_code == 1
    content = _report(result)
    assert content["peers"][0]["error"].startswith("ZeroDivisionError")
    assert {condition for _, _, condition in _keys(content)} >= {"depth 0, 1 thread", "depth 7, 1 thread"}


def test_a_peers_decoder_stands_beside_our_stages_and_dashes_where_it_has_none(tmp_path: Path) -> None:
    media = ("--audio-s", "1", "--image", "80x60")
    result = _run(small_bundle(), *_QUICK, *media, "--only", "requests", *_fake_peer(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    content = _report(result)
    found = {(f["runner"], f["mode"], f["name"]): f["samples"] for f in content["figures"]}
    for mode in ("speech", "vision"):
        positions = found["edgephi", mode, "prompt tokens"]
        assert found["onnxruntime-genai", mode, "stage: prefill"] == positions  # it read as many as we did
        assert found["onnxruntime-genai", mode, "stage: first token chosen"] == [1000.0]
        assert found["onnxruntime-genai", mode, "stage: decode"] == [1000.0]  # 3 tokens, 2 steps
        assert found["onnxruntime-genai", mode, "time per output token"] == [500.0, 500.0]
        assert any(note.startswith(f"onnxruntime-genai, {mode} requests: '-'") for note in content["notes"])
    assert not any(runner != "edgephi" and mode == "text" for runner, mode, _ in found)
    assert {(ratio["mode"], ratio["name"]) for ratio in content["ratios"]} >= {("speech", "stage: prefill")}
    path = tmp_path / "r.json"
    path.write_text(result.stdout)
    rows = [line.split(" | ") for line in _run("show", path, "--markdown").stdout.splitlines() if "stage: " in line]
    dashes = {row[0].removeprefix("| ") for row in rows if row[-2:] == ["-", "- |"]}
    assert dashes == {"stage: preprocess", "stage: encode", "stage: detokenize"}
    assert sum("500 s" in row[-2] for row in rows) == 0  # a step is no stage
    assert sum("1,000 s" in row[-2] for row in rows) == 4


@pytest.mark.slow
def test_a_peer_that_fails_in_requests_is_named_and_not_asked_again(tmp_path: Path) -> None:
    peer = _fake_peer(tmp_path, request="1 / 0")
    speech_only = small_bundle(adapters="speech", modalities=("text", "speech"))
    result = _run(speech_only, *_QUICK, "--audio-s", "1", "--only", "requests,prefill", *peer, "--json")
    assert result.exit_code == 1
    content = _report(result)
    assert content["peers"][0]["error"].startswith("ZeroDivisionError")
    assert {f["runner"] for f in content["figures"]} == {"edgephi"}
    assert ("speech", "stage: prefill") in {(mode, name) for mode, name, _ in _keys(content)}


def test_peers_that_would_have_nothing_to_do_are_refused(tmp_path: Path) -> None:
    result = _run(small_bundle(modalities=("text",)), "--only", "requests", *_fake_peer(tmp_path))
    assert result.exit_code == 2
    assert "takes text alone" in result.stderr


def test_llama_bench_is_asked_for_the_same_work(tmp_path: Path) -> None:
    program, log = tmp_path / "llama-bench", tmp_path / "log"
    record = '{"build_number": 5, "build_commit": "abc", "samples_ns": [4000000000]}'
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {log}\necho loading >&2\necho '{record}'\n")
    program.chmod(0o755)
    (tmp_path / "m.gguf").write_text("")
    options = ("--peers", "llama.cpp", "--peer-python", f"llama.cpp={program}")
    result = _run(
        small_bundle(), *_QUICK, "--only", "decode,prefill", *options, "--peer-model", f"llama.cpp={tmp_path}/m.gguf",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    content = _report(result)
    assert content["peers"][0]["version"] == "build 5 (abc)"
    assert {(ratio["name"], ratio["of"]) for ratio in content["ratios"]} == {
        ("decode step", "means"),
        ("prefill", "medians"),
    }
    theirs = {f["name"]: f["samples"] for f in content["figures"] if f["runner"] == "llama.cpp"}
    assert theirs == {"decode step": [2.0], "prefill": [4.0]}  # 3 tokens have 2 steps
    asked = log.read_text().splitlines()
    assert all("-t 1 " in line for line in asked)
    assert any(line.endswith("-p 0 -n 2 -d 7") for line in asked)
    assert any(line.endswith("-p 20 -n 0") for line in asked)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("llama.cpp", ("llama-bench", "cmake")),
        ("optimum", ("cannot be run", "--peer-python optimum=PYTHON")),
        ("onnxruntime-genai", ("cannot be run",)),
    ],
)
def test_a_missing_peer_is_named_with_what_would_help(
    name: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--peers", name, "--peer-python", f"{name}=/no/such")
    result = _run(small_bundle(), *_QUICK, "--only", "prefill", *options, "--json")
    assert result.exit_code == 1
    (peer,) = _report(result)["peers"]
    assert all(word in peer["error"] for word in words)
    assert f"{name} will not be measured" in result.stderr
    assert _keys(_report(result)) == {("text", "prefill", "20 tokens, 1 thread")}


def test_an_installed_peer_without_a_model_says_where_to_get_one(tmp_path: Path) -> None:
    options = _fake_peer(tmp_path)[:4]
    result = _run(small_bundle(), *_QUICK, "--only", "prefill", *options, "--json")
    assert "--layout genai" in _report(result)["peers"][0]["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--peers", "ollama"), "unknown peer 'ollama'"),
        (("--peers", "optimum,optimum"), "twice"),
        (("--peer-model", "optimum=x"), "does not name"),
        (("--peers", "optimum", "--peer-python", "optimum"), "NAME=PATH"),
        (("--peers", "optimum", "--only", "load"), "leaves none"),
        (("--peers", "onnxruntime-genai,llama.cpp", "--only", "requests"), "llama.cpp is measured in prefill"),
        (("--only", "decode,speed"), "'speed'"),
        (("--depths", "deep"), "--depths"),
        (("--depths", "200k"), "this model takes"),
        (("--image", "large"), "WIDTHxHEIGHT"),
        (("--json", "--csv"), "choose one"),
        (("--append", "/no/such/folder/log.jsonl"), "cannot be written"),
        (("--prompts", "/no/such/prompts.jsonl"), "cannot be read"),
        (("--audio-s", "long"), "--audio-s"),
        (("--prompt-tokens", "0,8"), "--prompt-tokens is 0"),
        (("--new-tokens", "1,8"), "use 2 or more"),
        (("--html", "/no/such/folder/page.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "Worker", None)  # starting one would be another error
    result = _run(small_bundle(), *arguments)
    assert result.exit_code == 2
    assert result.stdout == "" or json.loads(result.stdout).keys() == {"error"}  # with --json
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    result = _run(tmp_path)
    assert result.exit_code == 3
    assert str(tmp_path) in result.stderr


def test_a_report_can_be_shown_again_in_every_form_and_appended(tmp_path: Path) -> None:
    path, log = tmp_path / "r.json", tmp_path / "log.jsonl"
    path.write_text(_run(small_bundle(), *_QUICK, "--only", "prefill", "--json", "--append", log).stdout)
    assert _run("show", path, "--append", log).exit_code == 0
    first, second = log.read_text().splitlines()
    assert json.loads(first) == json.loads(second) == json.loads(path.read_text())
    assert _run("show", log, "--json").stdout == path.read_text()  # the last of them
    shown = [_run("show", path, *form) for form in ((), ("--csv",), ("--markdown",), ("--json",))]
    assert all(result.exit_code == 0 for result in shown)
    assert all("20 tokens, 1 thread" in result.stdout for result in shown)
    assert _report(shown[3]) == json.loads(path.read_text())
