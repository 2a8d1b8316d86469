"""A small report, made by hand, for tests of what is done with reports."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgephi_bench.latency.report import BenchReport, GreedyOutput, ModelFacts, PeerFacts, Repeat
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.environment import Environment, Version
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.roofline import Roofline, RooflineRound

_ENVIRONMENT = Environment(
    cpu="Test CPU",
    cores=2,
    instruction_sets=("avx2",),
    governor=None,
    memory_bytes=8_000_000_000,
    system="Linux 1",
    python="3.11",
    versions=(Version(name="numpy", version="2"),),
    command=("edgephi", "bench", "a model"),
)

_REQUEST, _MEMORY = Condition(kind="request", tokens=8), Condition(kind="memory", context=512)


def at_depth(depth: int) -> Condition:
    """Of decode steps with two threads."""
    return Condition(kind="decode", depth=depth, threads=2)


def figures() -> tuple[Figure, ...]:
    """Steps of two runners at two depths, stages, and one figure of every other kind."""
    steps = [
        Figure(
            runner=runner,
            name="decode step",
            condition=at_depth(depth),
            samples=samples,
            rounds=samples,
        )
        for runner, depth, samples in (
            ("edgephi", 0, (0.10, 0.12, 0.11)),
            ("llama.cpp", 0, (0.20, 0.18, 0.33)),
            ("edgephi", 1000, (0.15, 0.13, 0.14)),
            ("llama.cpp", 1000, (0.25, 0.26, 0.27)),
        )
    ]
    stages = [
        Figure(name=f"stage: {name}", condition=_REQUEST, samples=(second, second * 1.1))
        for name, second in (("preprocess", 0.001), ("prefill", 0.5), ("first token chosen", 0.002), ("decode", 0.9))
    ]
    return (
        *steps,
        *stages,
        Figure(name="decode step", condition=Condition(kind="decode", depth=0, threads=1), samples=(0.2, 0.21)),
        Figure(name="prefill", condition=Condition(kind="prefill", tokens=512, threads=2), samples=(8.0, 8.4, 8.2)),
        Figure(name="load, warm", condition=Condition(kind="load", threads=2), samples=(1.5, 1.6)),
        Figure(name="peak resident size", condition=_MEMORY, unit="bytes", samples=(2.5e9,)),
        Figure(
            name="prompt tokens",
            condition=_REQUEST,
            unit="tokens",
            better=None,
            samples=(9.0,),
        ),
    )


def report(**changes: Any) -> BenchReport:
    """The report, with some fields replaced."""
    floors = tuple(
        Roofline(
            mode="text",
            condition=at_depth(depth),
            num_bytes=bytes_read,
            rounds=tuple(RooflineRound(bandwidth=speed, mean_step_s=1.1 * median) for speed in (38e9, 30e9, 33e9)),
            best_bandwidth=40e9,
            median_s=median,
        )
        for depth, bytes_read, median in ((0, 2.16e9, 0.11), (1000, 2.42e9, 0.14))
    )
    made = BenchReport(
        model=ModelFacts(path="a model", source="me/phi", recipe="int4", modes=("text",), manifest_sha256="ab" * 32),
        environment=_ENVIRONMENT,
        threads=2,
        date="2026-01-02T03:04:05+00:00",
        kv_cache="float",
        figures=figures(),
        floors=floors,
        peers=(
            PeerFacts(name="llama.cpp", version="build 1", error=None),
            PeerFacts(name="optimum", version=None, error="it is not there"),
        ),
        output=GreedyOutput(sha256="cd" * 32, tokens=7),
        notes=("load, cold: not measured",),
        repeats=(
            Repeat(
                mode="text",
                name="decode step",
                condition=at_depth(0),
                processes=(0.1100, 0.1104, 0.1097, 0.1102, 0.1099),
            ),
        ),
    )
    return dataclasses.replace(made, **changes)
