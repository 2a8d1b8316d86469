"""`edgephi-pack keys`: the keys of a product."""

from __future__ import annotations

from pathlib import Path

import click

from edgephi.console.commands import SuggestingGroup
from edgephi_pack.commands.options import PATH, now
from edgephi_pack.keys import make_keys, revoke_key, rotate_keys

_positive = click.IntRange(min=1)


@click.group(cls=SuggestingGroup)
def keys() -> None:
    """Make, replace and withdraw the keys of a product."""


@keys.command()
@click.argument("folder", type=PATH)
@click.option("--root-keys", type=_positive, default=3, show_default=True, help="Keys that say which keys release.")
@click.option("--threshold", type=_positive, default=2, show_default=True, help="Of them, those that must sign.")
def new(folder: Path, root_keys: int, threshold: int) -> None:
    """Make the keys of a product in the new folder FOLDER, and 1.root.json for its devices."""
    _show(make_keys(folder, now(), num_roots=root_keys, threshold=threshold))


@keys.command()
@click.argument("folder", type=PATH)
@click.option(
    "--role", type=click.Choice(["release", "root"]), default="release", show_default=True, help="Of the keys."
)
def rotate(folder: Path, role: str) -> None:
    """Replace the keys of a role; devices learn it from the next bundle.

    FOLDER must hold as many root keys as the threshold asks for. After a new release key, counters begin anew.
    """
    _show(rotate_keys(folder, now(), role))


@keys.command()
@click.argument("folder", type=PATH)
@click.argument("key", type=PATH)
def revoke(folder: Path, key: Path) -> None:
    """Withdraw the key in the file KEY, such as a lost root key, without another in its place."""
    _show(revoke_key(folder, now(), key))


def _show(files: tuple[Path, ...]) -> None:
    click.echo("\n".join(map(str, files)))
