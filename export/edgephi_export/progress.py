"""How far an export is: the record that callers are given, and the sums behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an export is.

    Attributes:
        stage: What is being done.
        prompts: Prompts that calibration has run or is running; 0 in every other stage.
        total_prompts: The same at the end of calibration.
        layers: Layers that a walk has solved or is solving; 0 in every other stage.
        total_layers: The same at the end of the walk.
        groups: Groups of tensors whose formats are measured or being measured; 0 in every other stage.
        total_groups: The same at the end of the measurement.
        tensors: Tensors that are complete.
        total_tensors: Tensors in all.
        read_bytes: Bytes of the checkpoint that have been read.
        total_read_bytes: The same at the end.
        written_bytes: Bytes of weights that have been written.
        total_written_bytes: The same at the end, up to the alignment.
    """

    stage: str
    prompts: int = 0
    total_prompts: int = 0
    layers: int = 0
    total_layers: int = 0
    groups: int = 0
    total_groups: int = 0
    tensors: int = 0
    total_tensors: int
    read_bytes: int = 0
    total_read_bytes: int
    written_bytes: int = 0
    total_written_bytes: int


OnProgress = Callable[[Progress], None]


class Meter:
    """Adds up what has been done and reports it.

    Args:
        totals: What there is to do; its done fields are zero.
        on_progress: Called at every step; None for silence.
    """

    def __init__(self, totals: Progress, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._step = totals

    def restart(self, totals: Progress) -> None:
        """Everything is written anew, by another plan."""
        self._step = totals

    @classmethod
    def silent(cls) -> Meter:
        """One that reports nothing."""
        return cls(Progress(stage="", total_tensors=0, total_read_bytes=0, total_written_bytes=0), None)

    def stage(self, name: str) -> None:
        """A new part of the work begins."""
        counts = ("prompts", "total_prompts", "layers", "total_layers", "groups", "total_groups")
        self._report(replace(self._step, stage=name, **dict.fromkeys(counts, 0)))

    def prompt(self, number: int, total: int) -> None:
        """Calibration runs the prompt of this number, from 1."""
        self._report(replace(self._step, prompts=number, total_prompts=total))

    def layer(self, number: int, total: int) -> None:
        """A walk solves the layer of this number, from 1."""
        self._report(replace(self._step, layers=number, total_layers=total))

    def group(self, number: int, total: int) -> None:
        """The formats of the group of this number, from 1, are measured."""
        self._report(replace(self._step, groups=number, total_groups=total))

    def advance(self, read_bytes: int, written_bytes: int, *, tensors: int = 0) -> None:
        """Add what has been done since the last call."""
        done = self._step
        self._report(
            replace(
                done,
                read_bytes=done.read_bytes + read_bytes,
                written_bytes=done.written_bytes + written_bytes,
                tensors=done.tensors + tensors,
            )
        )

    def _report(self, step: Progress) -> None:
        self._step = step
        if self._on_progress is not None:
            self._on_progress(step)
