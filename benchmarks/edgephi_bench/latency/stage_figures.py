"""The figures that answered requests give."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from typing import Any

from edgephi_bench.engines.peer_requests import STEP
from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.measure.measurement import Better, Figure, Unit

#: Stages of the waterfall in their order, and the figure that each is.
STAGES = {
    "preprocess": "preprocess",
    "encode": "encode",
    "prefill": "prefill",
    "first_token": "first token chosen",
    "decode": "decode",
}


def stage_name(stage: str) -> str:
    """Name of the figure of a stage."""
    return f"stage: {stage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResults:
    """The worker's measurements of one kind of request.

    Attributes:
        answers: One for each counted run.
        rows: Positions that its media take.
    """

    answers: list[dict[str, Any]]
    rows: int

    def of(self, key: str) -> list[float]:
        """One value of every answer."""
        return [sum(answer["steps"]) if key == "decode" else answer[key] for answer in self.answers]


def figures_of(asked: RequestKind, found: RequestResults) -> list[Figure]:
    """Stages, waits and what else the kind of request has."""
    kind = _KindFigures(asked)
    figures = [
        kind.stage(name, found.of(key)) for key, name in STAGES.items() if key != "encode" or asked.mode != "text"
    ]
    figures += [
        kind.stage("detokenize", found.of("detokenize")),
        kind.figure("time to first token", found.of("ttft")),
        kind.steps([answer["steps"] for answer in found.answers]),
        kind.figure("end to end", found.of("end_to_end")),
        kind.figure("prompt tokens", found.of("prompt_tokens")[-1:], "tokens", None),
    ]
    if asked.audio_s:
        factors = [seconds / asked.audio_s for seconds in found.of("end_to_end")]
        figures += [
            kind.figure("real-time factor", factors, "x"),
            kind.figure("speed over real time", [1 / factor for factor in factors], "x", "more"),
            kind.figure("tokens per second of audio", [found.rows / asked.audio_s], "tokens/s", None),
        ]
    elif asked.image:
        figures.append(kind.figure("tokens per image", [float(found.rows)], "tokens", None))
        pairs = zip(found.of("encode"), found.of("encoder_steps"), strict=True)
        figures.append(kind.figure("encode per crop", [seconds / crops for seconds, crops in pairs]))
    return figures


@dataclass(frozen=True, slots=True)
class _KindFigures:
    """Makes figures of one kind of request."""

    asked: RequestKind

    def figure(self, name: str, samples: list[float], unit: Unit = "s", better: Better | None = "less") -> Figure:
        return Figure(
            mode=self.asked.mode,
            name=name,
            condition=self.asked.condition,
            unit=unit,
            better=better,
            samples=tuple(samples),
        )

    def stage(self, stage: str, samples: list[float]) -> Figure:
        """Seconds of a stage, one sample a round."""
        return dataclasses.replace(self.figure(stage_name(stage), samples), rounds=tuple(samples))

    def steps(self, steps: list[list[float]]) -> Figure:
        """A reply that ended early has fewer steps, and then there are no rounds."""
        even = len({len(item) for item in steps}) == 1
        return Figure(
            mode=self.asked.mode,
            name=STEP,
            condition=self.asked.condition,
            samples=tuple(second for item in steps for second in item),
            rounds=tuple(map(statistics.fmean, steps)) if even else (),
        )
