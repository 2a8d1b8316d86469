"""`edgephi-pack bundle`: a signed release for the agent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from edgephi.base.atomic_write import FolderKind, check_output, staged, writing
from edgephi.base.output_file import check_output_file, staged_file
from edgephi_agent.index import INDEX_NAME, Audience, Requirements
from edgephi_pack.app.components import Components
from edgephi_pack.bundle_writer import ReleaseFacts, Signing, list_tree, sign_release, write_file, write_folder
from edgephi_pack.commands.options import PATH, json_option, now, packed_tree, release_options
from edgephi_pack.delta import find_subtractions, read_earlier
from edgephi_pack.keys import read_chain, release_signers

_KIND = FolderKind("a bundle", (INDEX_NAME,))
_positive = click.IntRange(min=1)


@click.command()
@release_options
@click.option("--keys", "key_folder", type=PATH, required=True, help="The folder of `edgephi-pack keys new`.")
@click.option("--counter", type=_positive, required=True, help="Higher than that of every release before.")
@click.option("--expires-days", type=_positive, default=730, show_default=True, help="Devices install it until then.")
@click.option("--revokes-below", type=int, default=0, show_default=True, help="Remove releases of a lower counter.")
@click.option("--probe-deadline-s", type=_positive, default=120, show_default=True, help="The probe fails after that.")
@click.option("--fleet", multiple=True, help="Only for devices of this fleet; repeat for more.")
@click.option("--arch", help="Only for this processor.  [default: that of --app]")
@click.option("--from", "earlier", type=PATH, multiple=True, help="Also make one for devices with this bundle; repeat.")
@click.option("--folder", "as_folder", is_flag=True, help="Make folders of files instead of one file each.")
@json_option
def bundle(
    output: Path, key_folder: Path, earlier: tuple[Path, ...], as_folder: bool, as_json: bool, **asked: Any
) -> None:
    """Pack the model folder MODEL, which must pass its own probe here, as a signed bundle.

    With --from OLD another bundle of the same release is made, NAME-from-COUNTER: it leaves out what devices with that
    release have. The same files, keys and SOURCE_DATE_EPOCH give the same bytes.
    """
    trusted = read_chain(key_folder)
    signing = Signing(chain=trusted.chain, signers=release_signers(key_folder, trusted))
    releases = [read_earlier(path, trusted) for path in earlier]
    former = {_delta_place(output, one.index.release.counter): one for one in releases}
    for place in (output, *former):
        _check_place(place, as_folder)
    created = now()
    tree = packed_tree(asked, created)
    listing = list_tree(tree.files, asked["model"])
    facts = _facts(asked, created, tree.components)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".edgephi-pack-") as scratch:
        folder = Path(scratch)
        subtractions = find_subtractions(listing, releases, folder)
        release = sign_release(listing, facts, signing, subtractions)
        made = [_made(output, release.entries(), as_folder)]
        made += [_made(place, release.entries(one.delta(folder)), as_folder) for place, one in former.items()]
    shown = {
        "release": release.index.name,
        "files": len(listing.files),
        "chunks": len(listing.chunks),
        "expires": facts.expires.strftime("%Y-%m-%d"),
        "bundles": made,
    }
    click.echo(json.dumps(shown) if as_json else "\n".join(_lines(shown)))


def _delta_place(output: Path, counter: int) -> Path:
    return output.with_name(f"{output.stem}-from-{counter}{output.suffix}")


def _check_place(place: Path, as_folder: bool) -> None:
    if as_folder:
        check_output(place, _KIND, force=False)
    else:
        check_output_file(place)


def _made(place: Path, entries: Iterator[tuple[str, bytes]], as_folder: bool) -> dict[str, Any]:
    """Write one bundle; its facts."""
    if as_folder:
        with staged(place, _KIND, force=False) as folder:
            count = write_folder(folder, entries)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    else:
        with writing(place), staged_file(place) as stream:
            count = write_file(stream, entries)
        size = place.stat().st_size
    return {"bundle": str(place), "entries": count, "bytes": size}


def _lines(shown: dict[str, Any]) -> Iterator[str]:
    for key in ("release", "files", "chunks", "expires"):
        yield f"{key:<8} {shown[key]}"
    for one in shown["bundles"]:
        yield f"{'bundle':<8} {one['bundle']}: {one['bytes']:,} bytes"


def _facts(asked: dict[str, Any], created: datetime, components: Components | None) -> ReleaseFacts:
    target = None if components is None else components.target
    arch, python = (None, None) if target is None else (target.arch, target.python)
    return ReleaseFacts(
        appliance=asked["name"],
        version=asked["version"],
        counter=asked["counter"],
        created=created,
        expires=created + timedelta(days=asked["expires_days"]),
        audience=Audience(fleets=asked["fleet"]),
        requires=Requirements(arch=asked["arch"] or arch, python=python),
        revokes_below=asked["revokes_below"],
        deadline_s=asked["probe_deadline_s"],
    )
