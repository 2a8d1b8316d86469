"""`edgephi-pack app`: the application tree that a release brings along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

from edgephi.base.atomic_write import FolderKind, check_output, staged
from edgephi.base.errors import ConfigError
from edgephi_pack.app.components import COMPONENTS_NAME
from edgephi_pack.app.lock import Lock, read_lock
from edgephi_pack.app.resolve import own_requirements, resolve
from edgephi_pack.app.target import ARCHITECTURES, Target
from edgephi_pack.app.tree import APP, make_app
from edgephi_pack.commands.options import PATH, json_option

_KIND = FolderKind("an application folder", (COMPONENTS_NAME,))


@click.command()
@click.argument("output", metavar="FOLDER", type=PATH)
@click.option("--arch", type=click.Choice(ARCHITECTURES), help="Find packages for this processor, and lock them.")
@click.option("--python", default="3.11", show_default=True, help="The device's minor version, with --arch.")
@click.option("--glibc", default="2.31", show_default=True, help="The oldest that a device has, with --arch.")
@click.option("--lock", "lock_file", type=PATH, help="The app.lock of an earlier folder, instead of --arch.")
@click.option("--licence", "licences", multiple=True, metavar="NAME=SPDX", help="Where a package states none; repeat.")
@click.option("--force", is_flag=True, help="Replace a folder of an earlier run.")
@json_option
def app(output: Path, licences: tuple[str, ...], force: bool, as_json: bool, **asked: Any) -> None:
    """Install this edgephi, and the packages it needs, for another machine in the new folder FOLDER.

    Nothing is built or run, so the machine may have another processor. With --arch the package index is asked, and what
    was found is written by its sha256 to FOLDER/app.lock; the same lock gives the same files.
    """
    given = [text.partition("=") for text in licences]
    if wrong := [text for text, (name, _, licence) in zip(licences, given, strict=True) if not (name and licence)]:
        raise ConfigError(f"--licence {wrong[0]!r}; give NAME=SPDX, such as jinja2=BSD-3-Clause")
    check_output(output, _KIND, force=force)
    lock = _lock(**asked)
    with staged(output, _KIND, force=force) as folder:
        made = make_app(lock, folder, {canonicalize_name(name): licence for name, _, licence in given})
        size = sum(path.stat().st_size for path in (folder / APP).rglob("*") if path.is_file())
    facts = {"app": str(output), "arch": made.target.arch, "packages": len(made.components), "bytes": size}
    click.echo(json.dumps(facts) if as_json else f"{output}: {len(made.components)} packages, {size / 1e6:.0f} MB")


def _lock(arch: str | None, python: str, glibc: str, lock_file: Path | None) -> Lock:
    """That of the file, or a new one."""
    if (arch is None) == (lock_file is None):
        raise ConfigError("give either --arch, for packages to be found, or --lock, for those of an earlier folder")
    if lock_file is not None:
        return read_lock(lock_file)
    try:
        target = Target(arch=str(arch), python=python, glibc=glibc)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return resolve(own_requirements(target, ("cpu", "serve")), target)
