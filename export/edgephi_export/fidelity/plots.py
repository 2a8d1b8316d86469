"""The plots of a report, as places on a drawing: KL against size, bytes of a step and speed, on logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgephi.base.units import human_bytes
from edgephi_export.fidelity.report import FidelityReport, ModeFigures, ModelFidelity, PartKind
from edgephi_export.fidelity.tables import number

WIDTH, HEIGHT = 1000.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 80.0, 900.0, 20.0, 310.0
#: A KL of 0 has no place on a logarithmic axis; below this all are the same for users.
_LEAST_KL = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One folder in one mode; `series` is the place of the mode among all."""

    x: float
    y: float
    series: int
    name: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words at a place of an axis."""

    place: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing of WIDTH by HEIGHT."""

    title: str
    across: str
    dots: tuple[Dot, ...]
    columns: tuple[Label, ...]
    rows: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Logarithms of values to places."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


_Value = Callable[[ModelFidelity, ModeFigures], float | None]


def plots(report: FidelityReport) -> tuple[Plot, ...]:
    """Every plot that the report has values for."""
    wanted: tuple[tuple[str, _Value, Callable[[float], str]], ...] = (
        ("bytes of the folder", lambda model, _: model.folder.bytes, _size),
        ("bytes of weights that a decode step reads", _step_bytes, _size),
        ("tokens per second", lambda _, mode: mode.free.decode_tok_s, lambda value: f"{value:.3g}"),
    )
    against = [plot for name, value, words in wanted for plot in _plot(report, name, value, words)]
    kinds: tuple[PartKind, ...] = ("layer", "tensors")
    return (*against, *(plot for model in report.models for kind in kinds for plot in _part_plot(report, model, kind)))


def series_names(report: FidelityReport) -> tuple[str, ...]:
    """The modes in the order of their colours."""
    return tuple(dict.fromkeys(mode.mode for model in report.models for mode in model.modes))


def _plot(report: FidelityReport, name: str, value: _Value, words: Callable[[float], str]) -> Iterator[Plot]:
    series = series_names(report)
    found = [
        (model, mode, x) for model in report.models for mode in model.modes if (x := value(model, mode)) is not None
    ]
    if not found:
        return
    kls = [max(mode.forced.kl.value, _LEAST_KL) for _, mode, _ in found]
    across, up = _axis([x for _, _, x in found], _LEFT, _RIGHT, 0.1), _axis(kls, _BOTTOM, _TOP, 0.2)
    dots = [
        Dot(
            x=across.place(x),
            y=up.place(kl),
            series=series.index(mode.mode),
            name=model.folder.name,
            tip=f"{model.folder.name}, {mode.mode}: KL {number(mode.forced.kl.value)} at {words(x)}",
        )
        for (model, mode, x), kl in zip(found, kls, strict=True)
    ]
    yield Plot(
        title=f"KL against {name}",
        across=name,
        dots=tuple(dots),
        columns=tuple(Label(place=across.place(x), words=words(x)) for x in _ends([x for _, _, x in found])),
        rows=tuple(Label(place=up.place(10.0**power), words=f"1e{power}") for power in _powers(up)),
    )


def _part_plot(report: FidelityReport, model: ModelFidelity, kind: PartKind) -> Iterator[Plot]:
    """The parts of one kind side by side."""
    parts = [part for part in model.parts if part.kind == kind]
    if not parts:
        return
    series = series_names(report)
    up = _axis([max(one.kl, _LEAST_KL) for part in parts for one in part.kl], _BOTTOM, _TOP, 0.2)
    places = [round(_LEFT + (place + 0.5) * (_RIGHT - _LEFT) / len(parts), 1) for place in range(len(parts))]
    dots = [
        Dot(
            x=place,
            y=up.place(max(one.kl, _LEAST_KL)),
            series=series.index(one.mode),
            name="",
            tip=f"{part.name}, {one.mode}: KL {number(one.kl)}, {_size(part.bytes)}",
        )
        for place, part in zip(places, parts, strict=True)
        for one in part.kl
    ]
    yield Plot(
        title=f"{model.folder.name}: KL of {'each layer' if kind == 'layer' else 'each kind of tensor'} alone",
        across="",
        dots=tuple(dots),
        columns=tuple(
            Label(place=place, words=part.name.removeprefix("layer ").rpartition(".")[2])
            for place, part in zip(places, parts, strict=True)
        ),
        rows=tuple(Label(place=up.place(10.0**power), words=f"1e{power}") for power in _powers(up)),
    )


def _step_bytes(model: ModelFidelity, mode: ModeFigures) -> float | None:
    return next((step.bytes for step in model.folder.steps if step.mode == mode.mode), None)


def _axis(values: Sequence[float], start: float, end: float, margin: float) -> _Axis:
    low, high = math.log10(min(values)) - margin, math.log10(max(values)) + margin
    return _Axis(low, high, start, end)


def _powers(axis: _Axis) -> range:
    return range(math.ceil(axis.low), math.floor(axis.high) + 1)


def _ends(values: Sequence[float]) -> list[float]:
    return sorted({min(values), max(values)})


def _size(value: float) -> str:
    return human_bytes(round(value))
