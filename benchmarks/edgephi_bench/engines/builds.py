"""The two sides of a paired comparison: a model folder each, and the interpreter whose edgephi runs it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi.bundle.manifest import CacheChoice, CacheKind
from edgephi_bench.engines.fixed_logits import Difference, FixedLogits, differences
from edgephi_bench.engines.worker import WORKERS, Worker, WorkerError

_IMPORT_SECONDS = 120
_WHERE = "import edgephi_bench.engines.worker as worker; print(worker.WORKERS)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One side.

    Attributes:
        model: The folder.
        threads: As many as the other side.
        kv_cache: What keys and values are kept in.
        python: Whose edgephi runs it; None for the present interpreter.
        workers: Folder of that edgephi's own engine files: another version's decoder may be called otherwise.
    """

    model: Path
    threads: int
    kv_cache: CacheKind
    python: str | None = None
    workers: Path = WORKERS

    @property
    def name(self) -> str:
        """For messages and reports."""
        return f"{self.model} with {self.python}" if self.python else str(self.model)

    def decoder(self) -> Worker:
        """A new process with its decoder.

        Raises:
            WorkerError: It cannot be started. The message says which side.
        """
        return self._open("edgephi_decoder.py", {"adapter": "none"})

    def fixed_logits(self) -> tuple[FixedLogits, ...]:
        """Of the fixed requests, from a new process.

        Raises:
            WorkerError: That edgephi knows no fixed requests, or failed.
        """
        with self._open("edgephi_requests.py", {}) as worker:
            return tuple(read_fixed(item) for item in worker.ask("fixed"))

    def _open(self, engine: str, more: dict[str, Any]) -> Worker:
        options = {"model": str(self.model.absolute()), "threads": self.threads, "kv_cache": self.kv_cache}
        try:
            return Worker(self.workers / engine, options | more, self.python)
        except WorkerError as error:
            raise WorkerError(f"{self.name}: {error}") from error


def read_fixed(content: dict[str, Any]) -> FixedLogits:
    """One request's logits from a worker's answer."""
    return FixedLogits(**{**content, "token_ids": tuple(content["token_ids"]), "logits": tuple(content["logits"])})


def open_build(model: Path, threads: int, kv_cache: CacheChoice, python: str | None, longest: int) -> Build:
    """Check one side before anything is measured; it will be asked for sequences of `longest` positions.

    Raises:
        ArtifactError: The folder is no model.
        ConfigError: It has no such cache or takes fewer positions, or that interpreter has no edgephi with bench.
    """
    manifest = Bundle(model).manifest
    kind = cache_kind(manifest, kv_cache)
    if longest > manifest.rope.max_positions:
        raise ConfigError(
            f"{longest:,} tokens are asked for; {model} takes {manifest.rope.max_positions:,}: use less of "
            "--depths, --new-tokens or --prompt-tokens"
        )
    if python is None:
        return Build(model=model, threads=threads, kv_cache=kind)
    # A path without a folder would be looked up anew in the worker's.
    program = str(Path(python).absolute()) if "/" in python else python
    return Build(model=model, threads=threads, kv_cache=kind, python=program, workers=_workers_of(program))


def _workers_of(python: str) -> Path:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _WHERE], capture_output=True, text=True, check=False, timeout=_IMPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"--against-python {python}: cannot be run ({error}); give an interpreter") from error
    if done.returncode:
        reason = next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        raise ConfigError(
            f'--against-python {python}: has no edgephi with bench ({reason}); pip install "edgephi[bench,cpu]" there'
        )
    return Path(done.stdout.strip())


def output_differences(before: Build, after: Build) -> tuple[tuple[Difference, ...], str]:
    """How far the fixed requests' logits lie apart, or why that is not known."""
    try:
        return differences(before.fixed_logits(), after.fixed_logits()), ""
    except WorkerError as error:
        return (), f"logits of the fixed requests: not compared ({error})"


def is_same_model(before: Build, after: Build) -> bool:
    """Whether both read the same files, so that their logits must be the same."""
    first, second = (Bundle(build.model).manifest.files for build in (before, after))
    return [(info.path, info.sha256) for info in first] == [(info.path, info.sha256) for info in second]
