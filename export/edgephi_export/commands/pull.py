"""`edgephi pull`: a model folder from the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.base.units import human_bytes
from edgephi.console.commands import GroupedCommand, group
from edgephi.console.options import json_option
from edgephi.console.report import one_line
from edgephi.console.signals import stoppable

if TYPE_CHECKING:
    from edgephi.bundle.manifest import FileInfo


@click.command(cls=GroupedCommand)
@click.argument("repository")
@group("Source", click.option("--revision", help="Branch, tag or commit.  [default: main]"))
@group(
    "Output",
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to make."),
    click.option("--force", is_flag=True, help="Replace an existing model folder, once the new one is complete."),
)
@json_option
def pull(repository: str, output: Path, force: bool, revision: str | None, as_json: bool) -> None:
    """Fetch a model folder that somebody exported and put on the Hugging Face hub.

    REPOSITORY is its id, ORG/NAME. Every file is compared with the sha256 in the folder's manifest, and the folder
    appears when it is complete. What an interrupted run fetched is used by the next one.

    \b
    Examples:
      edgephi pull ORG/NAME -o model
      edgephi pull ORG/NAME -o model --revision v2 --force
    """
    from edgephi.bundle.documents import read_documents
    from edgephi_export.hub.pull import pull as fetch

    def report(info: FileInfo) -> None:
        click.echo(f"{one_line(info.path)}  {human_bytes(info.bytes)}", err=True)

    with stoppable():
        manifest = fetch(repository, output, revision=revision, force=force, on_file=None if as_json else report)
    documents = read_documents(output, (file.path for file in manifest.files))
    size = sum(file.bytes for file in manifest.files)
    if as_json:
        facts = {"path": str(output), "source": manifest.source.id, "recipe": manifest.recipe.name, "bytes": size}
        click.echo(
            json.dumps(facts | {"licence": documents.licence, "papers": list(documents.files)}, ensure_ascii=False)
        )
        return
    licence = f"licence {documents.licence or 'not stated'}"
    takes = ", ".join(manifest.modalities)
    click.echo(
        f"{output}: {one_line(manifest.source.id)}, takes {takes}; recipe {one_line(manifest.recipe.name)}; "
        f"{human_bytes(size)}, every file as its manifest says; {one_line(licence)}"
    )
