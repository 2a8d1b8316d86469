"""`edgephi-pack deb` and `edgephi-pack oci`: releases for updaters that are not ours; those sign and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgephi.base.atomic_write import FolderKind, check_output, staged, writing
from edgephi.base.output_file import check_output_file, staged_file
from edgephi_pack.commands.options import PATH, now, packed_tree, release_options
from edgephi_pack.formats.deb import DebFacts, write_deb
from edgephi_pack.formats.oci import ImageFacts, write_image, write_modelpack

_KIND = FolderKind("an OCI layout", ("oci-layout",))


@click.command()
@release_options
@click.option("--maintainer", required=True, metavar="'NAME <ADDRESS>'", help="Who answers for the package.")
def deb(output: Path, maintainer: str, **asked: Any) -> None:
    """Pack the model folder MODEL as a Debian package that is installed below /opt once its probe has passed there."""
    created = now()
    facts = DebFacts(name=asked["name"], version=asked["version"], maintainer=maintainer, created=created)
    check_output_file(output)
    tree = packed_tree(asked, created)
    with writing(output), staged_file(output) as stream:
        write_deb(stream, tree.files, tree.components, facts)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")


@click.command()
@release_options
@click.option("--base", type=PATH, help="An OCI layout with the device's Python; makes an image that serves the model.")
def oci(output: Path, base: Path | None, **asked: Any) -> None:
    """Pack the model folder MODEL as an OCI layout: a ModelPack artifact, or with --base an image that runs."""
    check_output(output, _KIND, force=False)
    created = now()
    tree = packed_tree(asked, created)
    arch = None if tree.components is None else tree.components.target.arch
    facts = ImageFacts(name=asked["name"], version=asked["version"], created=created, arch=arch)
    with staged(output, _KIND, force=False) as folder:
        if base is None:
            write_modelpack(folder, tree.files, facts)
        else:
            write_image(folder, tree.files, facts, base)
    click.echo(f"{output}: tag {facts.version}")
