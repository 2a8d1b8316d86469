"""The report of one `edgephi bench MODEL`: a record, and the same as JSON.

Owns the schema of the JSON. Knows nothing about how figures are measured or drawn.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.errors import ArtifactError
from edgephi.manifest import CacheKind
from edgephi.schema import decode
from edgephi_bench.environment import Environment
from edgephi_bench.figures import Figure, Ratio, ratios
from edgephi_bench.floor import Floor

#: 2: floors have rounds and the best bandwidth apart, ratios say what of a round they compare, the cache has a kind.
REPORT_VERSION = 2
#: What is written for those who read the JSON and computed anew when it is read.
_DERIVED = {
    "figures": ("min", "median", "p90", "p99"),
    "floors": ("bandwidth", "floor_s", "reached", "reached_of_best"),
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
class Sentinel:
    """The greedy reply to a fixed prompt: equal hashes mean equal tokens."""

    sha256: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """Everything about one run.

    Attributes:
        model: What was measured.
        environment: Where.
        threads: Of every runner, unless a figure's condition says otherwise.
        date: Day and time of the end, UTC.
        kv_cache: What edgephi kept keys and values in.
        figures: All of them.
        floors: One for each decode figure of edgephi.
        peers: One for each that was asked for.
        output: None where it was not asked for.
        notes: What was left out, and why.
    """

    model: ModelFacts
    environment: Environment
    threads: int
    date: str
    kv_cache: CacheKind
    figures: tuple[Figure, ...]
    floors: tuple[Floor, ...] = ()
    peers: tuple[PeerFacts, ...] = ()
    output: Sentinel | None = None
    notes: tuple[str, ...] = ()

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Ours against the peers'."""
        return ratios(self.figures)


def report_json(report: BenchReport) -> dict[str, Any]:
    """The report as JSON values; what can be derived is there as well, for those who read it."""
    content = {"report_version": REPORT_VERSION, **dataclasses.asdict(report)}
    content["figures"] = [
        dataclasses.asdict(figure) | {name: getattr(figure, name) for name in _DERIVED["figures"]}
        for figure in report.figures
    ]
    content["floors"] = [
        dataclasses.asdict(floor) | {name: getattr(floor, name) for name in _DERIVED["floors"]}
        for floor in report.floors
    ]
    content["ratios"] = [dataclasses.asdict(ratio) | {"median": ratio.median} for ratio in report.ratios]
    return content


def read_report(path: Path) -> BenchReport:
    """Read what `--json` wrote.

    Raises:
        ArtifactError: The file cannot be read or is not such a report.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not valid JSON ({error})") from error
    version = raw.pop("report_version", None) if isinstance(raw, dict) else None
    if version != REPORT_VERSION:
        what = "not a report" if version is None else f"a report of version {version}; only {REPORT_VERSION} is read"
        raise ArtifactError(f"{path}: {what}; make a new one: edgephi bench MODEL --json > {path.name}")
    raw.pop("ratios", None)
    for name, derived in _DERIVED.items():
        for item in raw.get(name, ()):
            if isinstance(item, dict):
                for key in derived:
                    item.pop(key, None)
    return decode(BenchReport, raw, str(path))
