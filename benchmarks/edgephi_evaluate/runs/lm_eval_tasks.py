"""Tasks of lm-evaluation-harness: it asks and judges, and its samples become the answers of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgephi import Model
from edgephi.base.errors import ConfigError
from edgephi_evaluate.extras import need
from edgephi_evaluate.runs.evaluation import Evaluation, run_file
from edgephi_evaluate.runs.folder import begin, open_shard, shard_name, suite_folder
from edgephi_evaluate.runs.identity import SuiteIdentity
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.suites.harness import PREFIX, harness_suite

#: Requests that have an answer, in the harness's own form: a killed run goes on from them.
_CACHE_NAME = "requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessModel:
    """A loaded model, for the harness and for the run's record."""

    model: Model
    folder: Path


def evaluate_task(wanted: Evaluation, name: str, loaded: HarnessModel, tasks_dir: Path) -> None:
    """Run one task and keep its samples.

    Args:
        wanted: The run; shards are not possible.
        name: Of the suite, `lm-eval:TASK`.
        loaded: Answers.
        tasks_dir: Where further tasks are described, if it exists.

    Raises:
        ConfigError: The harness is not installed, does not know the task or lacks its data; or shards are asked for.
    """
    selection = wanted.selection
    if selection.shards > 1:
        raise ConfigError(f"{name}: the harness cannot divide a task; leave --shard out")
    harness, folder = _harness(), suite_folder(wanted.run, name)
    identity = SuiteIdentity(
        name=name,
        version=harness_suite(name).version,
        data_sha256="",
        prompt=f"lm-eval {version('lm-eval')}",
        metric="mark",
        max_new_tokens=0,
        adapter="auto",
        items=0,
        limit=selection.limit,
        seed=selection.seed,
    )
    begin(folder, run_file(wanted, identity))
    with open_shard(folder / shard_name(1, 1)) as shard:
        if shard.done:
            return
        samples = _run(harness, name.removeprefix(PREFIX), loaded, (folder, tasks_dir, selection.limit))
        for record in _records(samples):
            shard.append(record)


def _harness() -> Any:
    """Data come from what is on this machine already, unless the user has decided otherwise."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(name, "1")
    lm_eval = need("lm_eval", "to run its tasks", "lm-eval")
    need("lm_eval.tasks", "to run its tasks", "lm-eval")
    return lm_eval


def _run(harness: Any, task: str, loaded: HarnessModel, place: tuple[Path, Path, int | None]) -> dict[str, Any]:
    from edgephi_evaluate.engines.lm_eval_model import EdgephiLM  # noqa: PLC0415 - needs the harness

    folder, tasks_dir, limit = place
    manager = harness.tasks.TaskManager(include_path=str(tasks_dir) if tasks_dir.is_dir() else None)
    try:
        results = harness.simple_evaluate(
            model=EdgephiLM(loaded.model, loaded.folder),
            tasks=[task],
            task_manager=manager,
            apply_chat_template=True,
            limit=limit,
            log_samples=True,
            bootstrap_iters=0,
            use_cache=str(folder / _CACHE_NAME),
        )
    except (KeyError, ValueError, OSError) as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"{PREFIX}{task}: the harness cannot run it ({words})") from error
    samples: dict[str, Any] = results["samples"]
    return samples


def _records(samples: dict[str, Any]) -> Iterator[ItemRecord]:
    """An answer for each document, metric and filter: they have figures of their own."""
    for task, entries in samples.items():
        for entry in entries:
            for metric in entry["metrics"]:
                yield _record(task, metric, entry)


def _record(task: str, metric: str, entry: dict[str, Any]) -> ItemRecord:
    part = f"{task}, {metric}" + ("" if entry["filter"] == "none" else f", {entry['filter']}")
    reply = entry["filtered_resps"]
    text = reply[0] if isinstance(reply, list) and len(reply) == 1 else reply
    marks = entry[metric] if isinstance(entry[metric], list | tuple) else [entry[metric]]
    return ItemRecord(
        id=f"{part}/{entry['doc_id']}",
        group=f"{task}/{entry['doc_id']}",
        part=part,
        prompt=_prompt(entry),
        reply=str(text),
        finish_reason="stop",
        answers=(str(entry["target"]),),
        counts=(float(sum(map(float, marks))), float(len(marks))),
    )


def _prompt(entry: dict[str, Any]) -> str:
    arguments = entry["arguments"]
    first = next(iter(arguments.values()), {}) if isinstance(arguments, dict) else arguments[0]
    return str(next(iter(first.values()), "") if isinstance(first, dict) else first[0])
