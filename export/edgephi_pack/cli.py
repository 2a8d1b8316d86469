"""`edgephi-pack`: keys, and signed bundles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import click

from edgephi.base.atomic_write import writing
from edgephi.base.errors import NOT_AS_RECORDED, ConfigError, EdgeError
from edgephi.base.output_file import check_output_file, staged_file
from edgephi.console import interruption
from edgephi.console.ending import mend_streams, run_to_end
from edgephi.console.reporting import ReportingGroup
from edgephi_agent.index import Audience, Requirements
from edgephi_pack.bundle_writer import ReleaseFacts, Signing, cut_tree, make_index, write_bundle
from edgephi_pack.keys import RELEASE_KEY, make_keys, read_chain, read_key
from edgephi_pack.tree import release_tree

_FOLDER = click.Path(path_type=Path)
_positive = click.IntRange(min=1)


@click.group(cls=ReportingGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make the signed bundles that edgephi-agent installs."""


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--root-keys", type=_positive, default=3, show_default=True, help="Keys that say which keys release.")
@click.option("--threshold", type=_positive, default=2, show_default=True, help="Of them, those that must sign.")
def keys(folder: Path, root_keys: int, threshold: int) -> None:
    """Make the keys of a product in the new folder FOLDER, and 1.root.json for its devices."""
    for path in make_keys(folder, _now(), num_roots=root_keys, threshold=threshold):
        click.echo(path)


@main.command()
@click.argument("model", type=_FOLDER)
@click.option("-o", "--output", type=_FOLDER, required=True, help="The bundle to make.")
@click.option("--probe", "cases", type=_FOLDER, required=True, help="The folder of `edgephi probe --record`.")
@click.option("--keys", "key_folder", type=_FOLDER, required=True, help="The folder of `edgephi-pack keys`.")
@click.option("--app", type=_FOLDER, help="The folder of `pip install --target`.  [default: the device's edgephi]")
@click.option("--name", required=True, help="Of the product.")
@click.option("--version", required=True, help="Of the release, for people.")
@click.option("--counter", type=_positive, required=True, help="Higher than that of every release before.")
@click.option("--expires-days", type=_positive, default=730, show_default=True, help="Devices install it until then.")
@click.option("--revokes-below", type=int, default=0, show_default=True, help="Remove releases of a lower counter.")
@click.option("--probe-deadline-s", type=_positive, default=120, show_default=True, help="The probe fails after that.")
@click.option("--fleet", multiple=True, help="Only for devices of this fleet; repeat for more.")
@click.option("--arch", help="Only for this processor, as `uname -m` has it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def bundle(model: Path, output: Path, cases: Path, key_folder: Path, as_json: bool, **asked: Any) -> None:
    """Pack the model folder MODEL, which must pass its own probe here, as a signed bundle.

    The same files, keys and SOURCE_DATE_EPOCH give the same bytes.
    """
    facts = _facts(asked)
    signing = Signing(chain=read_chain(key_folder).chain, signer=read_key(key_folder / RELEASE_KEY))
    check_output_file(output)
    cut = cut_tree(release_tree(model, cases, asked["app"]), model)
    _check_probe(model, cases)
    index = make_index(cut, facts)
    with writing(output), staged_file(output) as stream:
        write_bundle(stream, cut, index, facts, signing)
    release = index.release
    shown = {
        "bundle": str(output),
        "release": index.name,
        "files": len(release.files),
        "chunks": len(release.chunks),
        "bytes": output.stat().st_size,
        "expires": facts.expires.strftime("%Y-%m-%d"),
    }
    click.echo(json.dumps(shown) if as_json else "\n".join(f"{key:<8} {value}" for key, value in shown.items()))


def program() -> NoReturn:
    """The command as a process of its own."""
    interruption.install()
    mend_streams()
    run_to_end(lambda: main(prog_name="edgephi-pack"))


def _facts(asked: dict[str, Any]) -> ReleaseFacts:
    now = _now()
    return ReleaseFacts(
        appliance=asked["name"],
        version=asked["version"],
        counter=asked["counter"],
        created=now,
        expires=now + timedelta(days=asked["expires_days"]),
        audience=Audience(fleets=asked["fleet"]),
        requires=Requirements(arch=asked["arch"]),
        revokes_below=asked["revokes_below"],
        deadline_s=asked["probe_deadline_s"],
    )


def _now() -> datetime:
    """The time, or the one that SOURCE_DATE_EPOCH asks for."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.now(UTC) if text is None else datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"SOURCE_DATE_EPOCH is {text!r}; give seconds since 1970") from None
    return now.replace(microsecond=0)


def _check_probe(model: Path, cases: Path) -> None:
    """The release must prove itself here before it is asked to do so elsewhere."""
    command = [sys.executable, "-m", "edgephi", "probe", str(model), "--cases", str(cases)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return
    error = EdgeError(f"the model does not pass its own probe here: {done.stderr.strip().removeprefix('error: ')}")
    error.exit_code = done.returncode if 1 <= done.returncode <= NOT_AS_RECORDED else EdgeError.exit_code
    raise error
