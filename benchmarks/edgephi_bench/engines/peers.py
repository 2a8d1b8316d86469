"""Other runtimes that edgephi is measured against: where they are and how each is started."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgephi.base.errors import ConfigError
from edgephi_bench.engines.worker import WORKERS, Worker, WorkerError
from edgephi_bench.measure.subprocess_run import CommandError, measure_command

GENAI, LLAMA, TRANSFORMERS, OPTIMUM = PEER_NAMES = ("onnxruntime-genai", "llama.cpp", "transformers", "optimum")
_IMPORT_SECONDS = 120
_MODULES = {GENAI: "onnxruntime_genai", TRANSFORMERS: "torch, transformers", OPTIMUM: "optimum.onnxruntime"}
_INSTALL = {
    GENAI: "pip install onnxruntime-genai",
    LLAMA: "build llama-bench with cmake -DGGML_NATIVE=ON from llama.cpp",
    TRANSFORMERS: "pip install torch transformers",
    OPTIMUM: "pip install optimum-onnx[onnxruntime]",
}
_MODEL = {
    GENAI: "a folder with genai_config.json, such as `edgephi export CHECKPOINT -o DIR --layout genai` makes",
    LLAMA: "a GGUF file, such as `edgephi bench gguf -o FILE` makes",
    TRANSFORMERS: "a checkpoint folder, such as `edgephi bench synthetic phi3 -o DIR` makes",
    OPTIMUM: "a folder that `edgephi export --layout optimum` wrote",
}
_MARK = {GENAI: "genai_config.json", TRANSFORMERS: "config.json", OPTIMUM: "config.json"}


class Runner(Protocol):
    """Something that runs a model and can be asked for measurements."""

    @property
    def version(self) -> str:
        """Its own."""

    def ask(self, do: str, *, tokens: int, depth: int = 0) -> list[float]:
        """Seconds of a `prefill` of so many tokens, or of each step of a `decode`; see `workers/edgephi_decoder.py`.

        Of onnxruntime-genai also those of a `request` that begins with `depth` positions.

        Raises:
            WorkerError: It failed.
        """

    @property
    def peak_bytes(self) -> int:
        """Largest resident size so far."""

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """A peer as it was asked for.

    Attributes:
        name: One of PEER_NAMES.
        program: Interpreter of its environment; for llama.cpp its llama-bench. None for the present interpreter, or
            for what is found on the PATH.
        model: In the peer's own format; None where none was given.
    """

    name: str
    program: str | None = None
    model: Path | None = None


class MissingPeerError(WorkerError):
    """A peer that cannot be measured: why, and what would help."""


def parse_peers(names: str, programs: Iterable[str], models: Iterable[str]) -> tuple[PeerSpec, ...]:
    """The peers that the command line asks for.

    Args:
        names: Comma-separated.
        programs: `NAME=PROGRAM` each.
        models: `NAME=PATH` each.

    Raises:
        ConfigError: An unknown or repeated name, or something given for a peer that is not asked for.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in PEER_NAMES:
            raise ConfigError(f"unknown peer {name!r}; known: {', '.join(PEER_NAMES)}")
    if len(set(wanted)) != len(wanted):
        raise ConfigError(f"--peers names one twice: {names}")
    given_programs = _by_name(programs, "--peer-python", wanted)
    given_models = _by_name(models, "--peer-model", wanted)
    return tuple(
        PeerSpec(
            name=name,
            program=given_programs.get(name),
            model=Path(given_models[name]) if name in given_models else None,
        )
        for name in wanted
    )


def _by_name(items: Iterable[str], option: str, wanted: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not value:
            raise ConfigError(f"{option} is {item!r}; use NAME=PATH, such as {option} {LLAMA}=/path")
        if name not in wanted:
            raise ConfigError(f"{option} is for {name!r}, which --peers does not name")
        found[name] = value
    return found


def check_peer(spec: PeerSpec) -> None:
    """Find out whether a peer can be started, without loading its model.

    Raises:
        MissingPeerError: It is not installed, or has no model of the right kind.
    """
    if spec.name == LLAMA:
        program = spec.program or shutil.which("llama-bench")
        if program is None or shutil.which(program) is None:
            raise MissingPeerError(
                f"{program or 'llama-bench'} is not there; {_INSTALL[LLAMA]} and name it: --peer-python {LLAMA}=PROGRAM"
            )
    else:
        _check_module(spec)
    if spec.model is None:
        raise MissingPeerError(f"it has no model; give {_MODEL[spec.name]}: --peer-model {spec.name}=PATH")
    there = spec.model.is_file() if spec.name == LLAMA else (spec.model / _MARK[spec.name]).is_file()
    if not there:
        raise MissingPeerError(f"{spec.model} is not {_MODEL[spec.name]}")


def _check_module(spec: PeerSpec) -> None:
    python = spec.program or sys.executable
    code = f"import {_MODULES[spec.name]}"
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=_IMPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPeerError(
            f"{python} cannot be run ({error}); name another: --peer-python {spec.name}=PYTHON"
        ) from error
    if done.returncode:
        reason = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise MissingPeerError(
            f"{python} cannot import it ({reason}); {_INSTALL[spec.name]} in an environment of its own and name its "
            f"interpreter: --peer-python {spec.name}=PYTHON"
        )


def open_peer(spec: PeerSpec, *, threads: int, max_positions: int) -> Runner:
    """Start a peer that `check_peer` found.

    Args:
        spec: Which.
        threads: The same as ours.
        max_positions: The longest sequence it will be asked for.

    Raises:
        WorkerError: It cannot be started or cannot load its model.
    """
    assert spec.model is not None  # check_peer has seen it
    model = str(spec.model.absolute())
    if spec.name == LLAMA:
        program = spec.program or "llama-bench"
        return LlamaBench(shutil.which(program) or program, model, threads)
    # A path without a folder would be looked up anew in the worker's.
    python = str(Path(spec.program).absolute()) if spec.program and "/" in spec.program else spec.program
    if spec.name == GENAI:
        options: dict[str, object] = {"model": model, "threads": threads, "max_positions": max_positions}
        return Worker(WORKERS / "onnxruntime_genai.py", options, python or sys.executable)
    options = {"model": model, "threads": threads, "kind": spec.name}
    return Worker(WORKERS / "transformers_model.py", options, python or sys.executable)


class LlamaBench:
    """llama.cpp's own benchmark, one run per measurement; loading the model and its warm-up are not in its times.

    It reports the time of all steps together, so a decode has one sample: the mean. Repetitions of one step would have
    a time each, but before every one it puts the whole cache back, which is not how it generates.
    """

    def __init__(self, program: str, model: str, threads: int) -> None:
        self._command = (program, "-m", model, "-t", str(threads), "-ngl", "0", "-r", "1", "-o", "jsonl")
        self.version = "unknown"
        self.peak_bytes = 0

    def ask(self, do: str, *, tokens: int, depth: int = 0) -> list[float]:
        """See `Runner`.

        Raises:
            WorkerError: The program failed, or printed no single result.
        """
        steps = tokens - 1
        sizes = ("-p", str(tokens), "-n", "0") if do == "prefill" else ("-p", "0", "-n", str(steps), "-d", str(depth))
        lines: list[str] = []
        try:
            usage = measure_command((*self._command, *sizes), lines.append)
        except CommandError as error:
            raise WorkerError(str(error)) from error
        self.peak_bytes = max(self.peak_bytes, usage.peak_bytes)
        records = [json.loads(line) for line in lines if line.startswith("{")]
        if len(records) != 1:
            raise WorkerError(f"{self._command[0]} printed {len(records)} results instead of one")
        record = records[0]
        self.version = f"build {record['build_number']} ({record['build_commit']})"
        (nanoseconds,) = record["samples_ns"]
        seconds = float(nanoseconds) / 1e9
        return [seconds if do == "prefill" else seconds / steps]

    def close(self) -> None:
        """Nothing is held between runs."""
