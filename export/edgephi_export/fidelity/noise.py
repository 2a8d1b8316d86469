"""The A/A noise floor: the reference beside itself with another number of threads and other passes, in another process.

All sessions of the command share one pool of threads, whose size cannot change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgephi.base.errors import ArtifactError, EdgeError
from edgephi.base.json_file import decode
from edgephi_export.calibration.examples import Example
from edgephi_export.fidelity.figures import NoiseRun
from edgephi_export.fidelity.measuring import Comparison, LoadedSubject, RunSettings, run_reference
from edgephi_export.fidelity.options import chosen_examples
from edgephi_export.fidelity.outcomes import ModelOutcome
from edgephi_export.fidelity.store import RunStore, run_name

#: Examples of each mode: the floor needs no fine figure.
_MOST_EXAMPLES = 8
#: Positions of a pass: a small model may add up alike with any number of threads, but not in passes of other sizes.
_CHUNK = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseTask:
    """What the other process does; paths as text, since it comes as JSON.

    Attributes:
        reference: The folder.
        examples: See FidelityOptions.
        limit: See FidelityOptions.
        digests: Of the examples that it runs.
        work_dir: Holds the reference's outcomes, and takes the new ones.
        run: The name of the reference's run there.
        threads: For the new run.
        max_new_tokens: Of the reference's replies.
    """

    reference: str
    examples: str | None
    limit: int | None
    digests: tuple[str, ...]
    work_dir: str
    run: str
    threads: int
    max_new_tokens: int

    @property
    def store(self) -> RunStore:
        """The new outcomes."""
        return RunStore(Path(self.work_dir), run_name("noise", self.run, self.threads))

    def outcomes(self) -> dict[str, ModelOutcome]:
        """Those that are there."""
        found = {digest: self.store.load(digest, ModelOutcome) for digest in self.digests}
        return {digest: outcome for digest, outcome in found.items() if outcome is not None}


def measure_noise(task: NoiseTask) -> NoiseRun:
    """Run what is missing of a task, and load its outcomes.

    Raises:
        EdgeError: The other process failed.
    """
    if len(task.outcomes()) < len(task.digests):
        # Ctrl-C in a terminal reaches both processes; this one then ends the other.
        ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
        command = [sys.executable, "-c", f"{ignoring}; from {__name__} import main; main()"]
        done = subprocess.run(command, input=json.dumps(asdict(task)).encode(), stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            reason = done.stdout.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise EdgeError(f"the noise floor could not be measured: {reason}")
    return NoiseRun(threads=task.threads, outcomes=task.outcomes())


def noise_digests(examples: Sequence[Example]) -> tuple[str, ...]:
    """The first few examples of each mode."""
    counts: dict[str, int] = {}
    chosen = []
    for example in examples:
        counts[example.mode] = counts.get(example.mode, 0) + 1
        if counts[example.mode] <= _MOST_EXAMPLES:
            chosen.append(example.digest)
    return tuple(dict.fromkeys(chosen))


def other_threads(settings: RunSettings) -> RunSettings:
    """The same with another number of threads and shorter passes, so that sums are added up in another order."""
    return replace(settings, threads=2 if settings.threads == 1 else 1, chunk=_CHUNK)


def main() -> None:
    """The other process: a task as JSON on stdin; an error, in one line, on stdout."""
    try:
        _run(decode(NoiseTask, json.load(sys.stdin), "task"))
    except EdgeError as error:
        print(error)
        sys.exit(error.exit_code)


def _run(task: NoiseTask) -> None:
    reference = Path(task.reference)
    every = chosen_examples(None if task.examples is None else Path(task.examples), task.limit, reference)
    wanted = {one.digest: one for one in every if one.digest in task.digests}
    if len(wanted) < len(task.digests):
        raise ArtifactError("the examples changed while they were used; run it again")
    settings = RunSettings(threads=task.threads, kv_cache="float", max_new_tokens=task.max_new_tokens, chunk=_CHUNK)
    kept = RunStore(Path(task.work_dir), task.run)
    with LoadedSubject(reference, settings) as subject:
        examples = tuple(wanted.values())
        comparison = Comparison(outcomes=run_reference(subject, examples, kept, _silent), store=kept)
        comparison.run(subject, examples, task.store, _silent, free=False)


def _silent(_: int) -> None:
    """Progress of a process that nobody sees."""
