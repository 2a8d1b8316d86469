"""The report of one `edgephi bench MODEL`: a record, and the same as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, parse_json, read_text
from edgephi.bundle.manifest import CacheKind
from edgephi.ort.device_names import DeviceName
from edgephi_bench.engines.fixed_logits import FixedLogits
from edgephi_bench.latency import former_reports
from edgephi_bench.latency.aliases import known_as
from edgephi_bench.measure.arithmetic import ArithmeticFloor
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.environment import Environment
from edgephi_bench.measure.measurement import Figure, Ratio, ratios
from edgephi_bench.measure.observer import Round, RoundFacts
from edgephi_bench.measure.roofline import Roofline

#: 5: the numbers of each condition, under `setting`. 4: figures of `image of ...`, `audio of ...` and `prompt tokens`,
#: which had other names. 3: repetitions by new processes, conditions and energy of each round, logits of fixed
#: requests; no percentiles of few samples. Former reports are read as well.
REPORT_VERSION = 5
_READ_VERSIONS = (*former_reports.VERSIONS, REPORT_VERSION)
#: What is written for those who read the JSON and computed anew when it is read.
_DERIVED = {
    "figures": ("min", "median", "mean", "sd", "p90", "p99", "max", "known_as"),
    "floors": ("bandwidth", "floor_s", "reached", "reached_of_best"),
    "repeats": ("spread",),
    "arithmetic": ("floor_s", "reached"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model folder that was measured.

    Attributes:
        path: As given.
        source: What it was exported from.
        recipe: How its weights are stored.
        modes: In which it was asked.
        manifest_sha256: Of `edgephi.json`, which has the hashes of all other files in it.
    """

    path: str
    source: str
    recipe: str
    modes: tuple[str, ...]
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """A peer: its version, or why it was not measured (to the end)."""

    name: str
    version: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyOutput:
    """The greedy reply to a fixed prompt: equal hashes mean equal tokens."""

    sha256: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One figure that several processes of the same program measured, minutes apart: the A/A level of the report.

    Attributes:
        mode: Of the figure.
        name: Of the figure.
        condition: Of the figure.
        processes: The median of each.
    """

    mode: str
    name: str
    condition: Condition
    processes: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.processes or min(self.processes) <= 0:
            raise ValueError(f"the repetitions of {self.name} are not all above 0")

    @property
    def spread(self) -> float:
        """How far the slowest lies above the fastest, as a share."""
        return max(self.processes) / min(self.processes) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Everything about one run.

    Attributes:
        model: What was measured.
        environment: Where.
        threads: Of every runner, unless a figure's condition says otherwise.
        date: Day and time of the end, UTC.
        kv_cache: What edgephi kept keys and values in.
        device: What edgephi ran on.
        figures: All of them.
        floors: One for each decode figure of edgephi.
        peers: One for each that was asked for.
        output: None where it was not asked for.
        notes: What was left out, and why.
        repeats: Figures that new processes measured again.
        rounds: What the machine did beside each round.
        energy_source: Where the rounds' joules were read; None where the machine reports none.
        fixed: Logits of the fixed requests, one for each mode.
        arithmetic: One for each prefill of edgephi.
        prefill_threshold: Positions from which on prompts took the graph for prefill, 0 for never; None without one, or
            where no prompt was long enough to measure it.
        memory_limit_bytes: What each of edgephi's processes was allowed to hold; None for no limit.
    """

    model: ModelFacts
    environment: Environment
    threads: int
    date: str
    kv_cache: CacheKind
    figures: tuple[Figure, ...]
    device: DeviceName = "cpu"
    floors: tuple[Roofline, ...] = ()
    peers: tuple[PeerFacts, ...] = ()
    output: GreedyOutput | None = None
    notes: tuple[str, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    rounds: tuple[RoundFacts, ...] = ()
    energy_source: str | None = None
    fixed: tuple[FixedLogits, ...] = ()
    arithmetic: tuple[ArithmeticFloor, ...] = ()
    prefill_threshold: int | None = None
    memory_limit_bytes: int | None = None

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Ours against the peers'."""
        return ratios(self.figures)


def report_json(report: BenchReport) -> dict[str, Any]:
    """The report as JSON values; what can be derived is there as well, for those who read it."""
    content = {"report_version": REPORT_VERSION, **dataclasses.asdict(report)}
    content["figures"] = list(map(figure_json, report.figures))
    content["floors"] = [
        _with_condition(floor) | {name: getattr(floor, name) for name in _DERIVED["floors"]} for floor in report.floors
    ]
    content["arithmetic"] = [
        _with_condition(floor) | {name: getattr(floor, name) for name in _DERIVED["arithmetic"]}
        for floor in report.arithmetic
    ]
    content["repeats"] = [_with_condition(repeat) | {"spread": repeat.spread} for repeat in report.repeats]
    content["rounds"] = [dataclasses.asdict(item) | {"round": _with_condition(item.round)} for item in report.rounds]
    content["ratios"] = [_with_condition(ratio) | {"median": ratio.median} for ratio in report.ratios]
    return content


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure as JSON values, with its statistics."""
    derived = {name: getattr(figure, name) for name in _DERIVED["figures"][:-1]}
    return _with_condition(figure) | derived | {"known_as": known_as(figure)}


def _parsed(text: str, where: str) -> Any:
    """Of several objects, one a line, the last."""
    try:
        return parse_json(text, where)
    except ArtifactError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if getattr(error.__cause__, "msg", None) != "Extra data" or len(lines) < 2:
            raise
        return parse_json(lines[-1], where)


def _with_condition(item: Figure | Roofline | ArithmeticFloor | Repeat | Ratio | Round) -> dict[str, Any]:
    """Its fields, with the condition as words and as numbers."""
    return dataclasses.asdict(item) | {"condition": str(item.condition), "setting": item.condition.values}


def read_report(path: Path) -> BenchReport:
    """Read what `--json` wrote, or the last report of a file that `--append` wrote.

    Raises:
        ArtifactError: The file cannot be read or is not such a report.
    """
    raw = _parsed(read_text(path), str(path))
    version = raw.pop("report_version", None) if isinstance(raw, dict) else None
    if version not in _READ_VERSIONS:
        known = f"{', '.join(map(str, _READ_VERSIONS[:-1]))} and {REPORT_VERSION}"
        what = "not a report" if version is None else f"a report of version {version}; only {known} are read"
        raise ArtifactError(f"{path}: {what}; make a new one: edgephi bench MODEL --json > {path.name}")
    if version in former_reports.VERSIONS:
        former_reports.update(raw, str(path))
    _drop_derived(raw)
    return decode(BenchReport, raw, str(path))


def _drop_derived(raw: dict[str, Any]) -> None:
    """Leave the fields of the dataclasses; a condition is read from its numbers."""
    raw.pop("ratios", None)
    for name, derived in _DERIVED.items():
        for item in former_reports.objects(raw, name):
            for key in derived:
                item.pop(key, None)
    for item in former_reports.conditioned(raw):
        item.pop("condition", None)
        if "setting" in item:
            item["condition"] = item.pop("setting")
