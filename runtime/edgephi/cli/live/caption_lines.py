"""Captions as lines: rewritten on a terminal, plain in a file or pipe, or JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Protocol

import click

from edgephi.console import interruption
from edgephi.console.ending import say
from edgephi.console.logs import is_logging
from edgephi.console.report import note_line, printable, shown
from edgephi.transcription.columns import num_columns
from edgephi.transcription.formats import line, segment_json
from edgephi.transcription.live.captions import Caption, FinalCaption, LostCaption, PartialCaption

if TYPE_CHECKING:
    from collections.abc import Iterable

_ERASE = "\r\x1b[K"
_CUT = "\N{HORIZONTAL ELLIPSIS}"


class CaptionLines(Protocol):
    """Writes captions to stdout."""

    def write(self, caption: Caption) -> None:
        """One caption."""

    def close(self) -> None:
        """Leave stdout at the beginning of a line."""


def caption_lines(as_json: bool) -> CaptionLines:
    """What stdout is asked for, or can show."""
    if as_json:
        return JsonLines()
    can_erase = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not is_logging()
    return TerminalLines() if can_erase else PlainLines()


class PlainLines:
    """Final captions, a line for each segment with words."""

    def write(self, caption: Caption) -> None:
        """One caption; of a partial one nothing."""
        if isinstance(caption, FinalCaption):
            _echo(shown(text) for text in map(line, caption.segments) if text)
        elif isinstance(caption, LostCaption):
            say(note_line(lost_line(caption)))

    def close(self) -> None:
        """Nothing to do."""


class TerminalLines:
    """As PlainLines, with the utterance that goes on in a last line: settled words, and dim those that may change."""

    def __init__(self) -> None:
        self._plain = PlainLines()
        self._is_shown = False

    def write(self, caption: Caption) -> None:
        """One caption."""
        if not isinstance(caption, PartialCaption):
            self.close()
            self._plain.write(caption)
            return
        settled, tail = fitted(printable(caption.settled), printable(caption.tail), _width())
        with interruption.may_stick():
            click.echo(_ERASE + settled + click.style(tail, dim=True), nl=False)
        self._is_shown = True

    def close(self) -> None:
        """Erase the last line."""
        if self._is_shown:
            click.echo(_ERASE, nl=False)
            self._is_shown = False


class JsonLines:
    """One JSON object a line for each caption."""

    def write(self, caption: Caption) -> None:
        """One caption."""
        _echo([json.dumps(_as_json(caption), ensure_ascii=False)])

    def close(self) -> None:
        """Nothing to do."""


def fitted(settled: str, tail: str, columns: int) -> tuple[str, str]:
    """The end of a text in one line of so many columns, two parts of it apart; a cut is marked."""
    if num_columns(settled + tail) <= columns:
        return settled, tail
    text, left, start = settled + tail, columns - num_columns(_CUT), len(settled + tail)
    while start and (left := left - num_columns(text[start - 1])) >= 0:
        start -= 1
    return (_CUT + settled[start:], tail) if start < len(settled) else ("", _CUT + text[start:])


def lost_line(caption: LostCaption) -> str:
    """What is missing, on one line."""
    times = f"{caption.start_s:.1f} s to {caption.end_s:.1f} s"
    return f"what was said from {times} is left out: the machine is too far behind"


def _as_json(caption: Caption) -> dict[str, Any]:
    if isinstance(caption, PartialCaption):
        return {
            "type": "partial",
            "number": caption.number,
            "start_s": round(caption.start_s, 3),
            "settled": caption.settled,
            "tail": caption.tail,
            "lag_s": round(caption.lag_s, 3),
        }
    times = {"number": caption.number, "start_s": round(caption.start_s, 3), "end_s": round(caption.end_s, 3)}
    if isinstance(caption, LostCaption):
        return {"type": "lost", **times}
    return {
        "type": "final",
        **times,
        "text": caption.text,
        "segments": [segment_json(segment) for segment in caption.segments],
        "lag_s": round(caption.lag_s, 3),
    }


def _echo(lines: Iterable[str]) -> None:
    for text in lines:
        with interruption.may_stick():
            click.echo(text)


def _width() -> int:
    return max(shutil.get_terminal_size().columns - 1, 8)
