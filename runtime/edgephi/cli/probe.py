"""`edgephi probe`: whether a model answers on this machine as it was recorded."""

from __future__ import annotations

import dataclasses
import json
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import NOT_AS_RECORDED, ConfigError
from edgephi.console.commands import ModelCommand, group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.progress import ProgressLine
from edgephi.console.report import one_line
from edgephi.console.sizes import parse_size

if TYPE_CHECKING:
    from edgephi.inspection.probe import CaseResult, Usage
    from edgephi.inspection.probe_record import Limits, ProbeRecord
    from edgephi.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Whether to record, and with which limits."""

    record: bool
    headroom: float | None
    max_ttft_ms: float | None
    max_step_ms: float | None
    max_memory: str | None

    def check(self) -> None:
        """Refuse limits without a record.

        Raises:
            ConfigError: They are given without --record.
        """
        if not self.record and (self.headroom, self.max_ttft_ms, self.max_step_ms, self.max_memory) != (None,) * 4:
            raise ConfigError("limits are kept in the record; give them with --record")

    def limits(self, usage: Usage) -> Limits:
        """Those given; where only headroom is, so many times what was measured."""
        from edgephi.inspection.probe_record import Limits

        def times(measured: float | None) -> float | None:
            return None if self.headroom is None or measured is None else measured * self.headroom

        memory = None if self.max_memory is None else parse_size(self.max_memory, "--max-memory")
        held = times(usage.memory_bytes)
        return Limits(
            ttft_ms=self.max_ttft_ms or times(usage.ttft_ms),
            step_ms=self.max_step_ms or times(usage.step_ms),
            memory_bytes=memory or (None if held is None else int(held)),
        )


def _record_options(command: Command) -> Command:
    positive = click.FloatRange(min=0, min_open=True)
    options = [
        click.option("--record", is_flag=True, help="Make cases.json from the samples.json in DIR, on this machine."),
        click.option(
            "--headroom",
            type=click.FloatRange(min=1),
            metavar="X",
            help="Record limits of X times the latency and memory of this machine, such as 2.",
        ),
        click.option(
            "--max-ttft-ms", type=positive, metavar="N", help="Record this limit of the time until the first token."
        ),
        click.option("--max-step-ms", type=positive, metavar="N", help="Record this limit of the time of a token."),
        click.option("--max-memory", metavar="SIZE", help="Record this limit of memory, such as 3GiB."),
    ]
    return packed(command, RecordOptions, "recording", [group("Record", option) for option in options])


@click.command(cls=ModelCommand)
@model_options
@group(
    "Case",
    click.option(
        "--cases",
        "folder",
        metavar="DIR",
        help="The folder that holds cases.json.  [default: the folder `probe` beside MODEL]",
    ),
)
@_record_options
@json_option
def probe(source: ModelSource, folder: str | None, recording: RecordOptions, as_json: bool) -> None:
    """Compare what the model folder MODEL gives on this machine with what was recorded: logits, latency, memory.

    With --record, cases.json is made instead, from the samples that `edgephi demo` takes and that the model must answer
    right. The exit code is 0 if the model answers as recorded, 5 if it does not, 3 if a file is damaged.

    \b
    Examples:
      edgephi probe models/nano --cases nano/samples --record
      edgephi probe models/nano --cases nano/samples
    """
    recording.check()
    place = source.path.absolute().parent / "probe" if folder is None else Path(folder)
    if recording.record:
        _record(source, place, recording, as_json)
    else:
        _probe(source, place, as_json)


def _probe(source: ModelSource, folder: Path, as_json: bool) -> None:
    from edgephi.inspection.probe import judge_cases, measure
    from edgephi.inspection.probe_record import read_record

    record = read_record(folder)
    results: list[CaseResult] = []
    with ProgressLine("loading") as progress, _loaded(source, record, progress) as model:
        for result in judge_cases(model, record, folder):
            results.append(result)
            progress.show(f"{len(results)} of {len(record.cases)} cases")
        usage = measure(model, record, folder, with_replies=record.limits.need_replies)
    problems = [f"{one.case.request.title}: {one.problem}" for one in results if one.problem]
    problems += usage.problems(record.limits)
    facts = _json(source.path, record, results, usage, problems)
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(_lines(facts)))
    if problems:
        more = f", and {len(problems) - 1:,} more" if len(problems) > 1 else ""
        end_unsuccessful(f"{source.path}: does not answer as recorded: {problems[0]}{more}", NOT_AS_RECORDED)


def _record(source: ModelSource, folder: Path, recording: RecordOptions, as_json: bool) -> None:
    from edgephi.base.output_file import check_output_file, staged_file
    from edgephi.inspection.probe import measure
    from edgephi.inspection.probe_record import RECORD_NAME
    from edgephi.inspection.probe_recording import record_cases, record_json, record_of
    from edgephi.inspection.samples import read_samples

    samples, path = read_samples(folder), folder / RECORD_NAME
    check_output_file(path)
    with (
        ProgressLine("loading") as progress,
        source.load(with_adapters=any(one.media() for one in samples), on_stage=progress.observe) as model,
    ):
        record = record_of(list(record_cases(model, samples, folder)))
        usage = measure(model, record, folder, with_replies=True)
    record = dataclasses.replace(record, limits=recording.limits(usage))
    with staged_file(path) as stream:
        stream.write(record_json(record).encode())
    facts = {"model": str(source.path), "cases_file": str(path), **_record_facts(record), **dataclasses.asdict(usage)}
    click.echo(json.dumps(facts) if as_json else f"{one_line(path)}: {len(record.cases):,} cases recorded")


def _loaded(source: ModelSource, record: ProbeRecord, progress: ProgressLine) -> AbstractContextManager[Model]:
    """The model, with its adapters at once where a case has media."""
    with_adapters = any(case.request.mode != "text" for case in record.cases)
    return source.load(with_adapters=with_adapters, on_stage=progress.observe)


def _record_facts(record: ProbeRecord) -> dict[str, Any]:
    return {
        "recorded_on": dataclasses.asdict(record.machine),
        "num_cases": len(record.cases),
        "limits": dataclasses.asdict(record.limits),
    }


def _json(
    model: Path, record: ProbeRecord, results: list[CaseResult], usage: Usage, problems: list[str]
) -> dict[str, Any]:
    from edgephi.inspection.probe import tolerance_sd

    return {
        "model": str(model),
        "ok": not problems,
        "problems": problems,
        "tolerance_sd": tolerance_sd(record),
        "worst_sd": _finite(max(result.worst_sd for result in results)),
        "cases": [
            {
                "mode": result.case.request.mode,
                "title": result.case.request.title,
                "tokens": len(result.case.rows),
                "wrong_tokens": result.wrong_tokens,
                "worst_sd": _finite(result.worst_sd),
                "problem": result.problem,
            }
            for result in results
        ],
        **_record_facts(record),
        **dataclasses.asdict(usage),
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return round(value, 4) if math.isfinite(value) else None


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"{'ok  ' if one['problem'] is None else 'FAIL'}  {one['worst_sd'] or 0:7.4f} sd  {one['tokens']:>4} tokens  "
        f"{one_line(one['title'])}"
        for one in facts["cases"]
    ]
    lines.append(f"accepted are {facts['tolerance_sd']:g} sd, {_where(facts)}")
    return [*lines, *(one_line(line) for line in facts["problems"])] if facts["problems"] else [*lines, "as recorded"]


def _where(facts: dict[str, Any]) -> str:
    machine = facts["recorded_on"]
    return f"recorded on {machine['kernels']} with ONNX Runtime {machine['onnxruntime']}"
