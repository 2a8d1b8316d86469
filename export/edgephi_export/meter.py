"""How far an export is.

Owns the sums behind the progress callback. Knows nothing about how progress is shown.
"""

from __future__ import annotations

from edgephi_export.options import OnProgress, Progress


class Meter:
    """Adds up what has been done and tells `on_progress`.

    Args:
        totals: What there is to do; its done fields are zero.
        on_progress: Hears of every step; None for silence.
    """

    def __init__(self, totals: Progress, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._totals = totals
        self._stage = totals.stage
        self._detail = ""
        self._tensors = self._read = self._written = 0

    def stage(self, name: str) -> None:
        """A new part of the work begins."""
        self._stage, self._detail = name, ""
        self.advance(0, 0)

    def detail(self, text: str) -> None:
        """How far a stage is that bytes say nothing of."""
        self._detail = text
        self.advance(0, 0)

    def advance(self, read_bytes: int, written_bytes: int, *, tensors: int = 0) -> None:
        """So much more has been done."""
        self._read += read_bytes
        self._written += written_bytes
        self._tensors += tensors
        if self._on_progress is not None:
            totals = self._totals
            self._on_progress(
                Progress(
                    stage=self._stage,
                    detail=self._detail,
                    tensors=self._tensors,
                    total_tensors=totals.total_tensors,
                    read_bytes=self._read,
                    total_read_bytes=totals.total_read_bytes,
                    written_bytes=self._written,
                    total_written_bytes=totals.total_written_bytes,
                )
            )
