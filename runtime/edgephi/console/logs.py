"""`-v`, `--log-level` and EDGEPHI_LOG: the library's log on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import click

from edgephi.base.log import ROOT
from edgephi.console.packing import Command
from edgephi.console.report import note_line

LEVEL_VARIABLE = "EDGEPHI_LOG"
_LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _OnStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter(_FORMAT))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A reader of the log that went away is no reason to say anything."""


def is_logging() -> bool:
    """Whether the log has a line for each request."""
    return logging.getLogger(ROOT).isEnabledFor(logging.INFO)


def log_options() -> list[Callable[[Command], Command]]:
    """-v and --log-level, which act at once and pass nothing on."""
    return [
        click.option(
            "--log-level",
            type=click.Choice(_LEVELS, case_sensitive=False),
            envvar=LEVEL_VARIABLE,
            show_envvar=True,
            expose_value=False,
            is_eager=True,
            callback=_level_given,
            help="Report on stderr what happens: info for each request, debug for each pass.  [default: nothing]",
        ),
        click.option(
            "-v",
            "log_count",
            count=True,
            expose_value=False,
            is_eager=True,
            callback=_count_given,
            help="As --log-level info; -vv as debug.",
        ),
    ]


def _level_given(_: click.Context, __: click.Parameter, given: str | None) -> None:
    if given is not None:
        show_log(given)


def _count_given(_: click.Context, __: click.Parameter, given: int) -> None:
    if given:
        show_log("info" if given == 1 else "debug")


def show_log(level: str) -> None:
    """Write the log to stderr from this level on."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level.upper())
    if not any(isinstance(handler, _OnStderr) for handler in logger.handlers):
        logger.addHandler(_OnStderr())


class _Notes(logging.Handler):
    """Writes warnings to stderr as the other notes of a command."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        with suppress(OSError, ValueError):  # a stderr that went away
            click.echo(note_line(record.getMessage()), err=True)


@contextmanager
def warnings_shown(*, is_quiet: bool) -> Iterator[None]:
    """While the block runs, warnings of the library become notes on stderr, unless they are logged or not wanted."""
    root, notes = logging.getLogger(ROOT), _Notes(logging.WARNING)
    if is_quiet or any(isinstance(handler, _OnStderr) for handler in root.handlers):
        yield
        return
    root.addHandler(notes)
    try:
        yield
    finally:
        root.removeHandler(notes)


def hide_log() -> None:
    """Silent again."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.NOTSET)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _OnStderr)]:
        with suppress(ValueError):
            logger.removeHandler(handler)
