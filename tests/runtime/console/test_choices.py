"""A command's help must load in an instant, so its choices are written out: they must be those of the library."""

from __future__ import annotations

import typing

import click
import pytest

from edgephi.bundle.manifest import AdapterMode, CacheChoice, CacheKind
from edgephi.cli.run import run
from edgephi.cli.transcribe import transcribe
from edgephi.prompt.routing import AdapterChoice
from edgephi.transcription.windows import LEAST_PAUSE_S, LEAST_WINDOW_S, MOST_WINDOW_S
from edgephi_export.commands.export import export
from edgephi_export.options import LayoutName

CHOICES = [
    (run, "kv_cache", CacheChoice),
    (run, "adapter", AdapterChoice),
    (export, "layout", LayoutName),
    (export, "adapters", AdapterMode),
    (export, "kv_cache", CacheKind),
]


def _option(command: click.Command, name: str) -> click.Parameter:
    (option,) = [option for option in command.params if option.name == name]
    return option


@pytest.mark.parametrize(("command", "name", "kind"), CHOICES, ids=[f"{c.name} {n}" for c, n, _ in CHOICES])
def test_an_option_offers_what_the_library_takes(command: click.Command, name: str, kind: object):
    choice = _option(command, name).type
    assert isinstance(choice, click.Choice)
    assert set(choice.choices) == set(typing.get_args(kind))


def test_windows_and_pauses_have_the_librarys_limits():
    window, pause = (_option(transcribe, name).type for name in ("window_s", "pause_s"))
    assert isinstance(window, click.FloatRange)
    assert isinstance(pause, click.FloatRange)
    assert (window.min, window.max, pause.min) == (LEAST_WINDOW_S, MOST_WINDOW_S, LEAST_PAUSE_S)
