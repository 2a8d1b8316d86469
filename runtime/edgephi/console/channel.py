"""`--channel` as it is written on the command line."""

from __future__ import annotations

from typing import Literal, cast

import click


def channel_given(_: click.Context, option: click.Parameter, given: str) -> int | Literal["all", "mix"]:
    """A number from 1, `all` or `mix`; raises click.BadParameter."""
    if given.lower() in ("all", "mix"):
        return cast("Literal['all', 'mix']", given.lower())
    if given.isascii() and given.isdigit() and int(given[:9]) > 0:
        return int(given[:9])
    raise click.BadParameter(f"{given!r} is no channel; give a number from 1, `all` or `mix`", param=option)
