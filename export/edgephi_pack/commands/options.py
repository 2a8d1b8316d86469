"""Options that several commands share, and what they have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from edgephi.base.errors import NOT_AS_RECORDED, ConfigError, EdgeError
from edgephi_pack.tree import ReleaseParts, ReleaseTree, release_tree

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
_RELEASE = (
    click.argument("model", type=PATH),
    click.option("-o", "--output", type=PATH, required=True, help="What to make."),
    click.option("--probe", "probe", type=PATH, required=True, help="The folder of `edgephi probe --record`."),
    click.option("--model-licence", type=PATH, required=True, help="A file with the text of the model's licence."),
    click.option("--app", type=PATH, help="The folder of `edgephi-pack app`.  [default: the device's edgephi]"),
    click.option("--name", required=True, help="Of the product."),
    click.option("--version", required=True, help="Of the release, for people."),
)


def release_options(command: F) -> F:
    """MODEL and everything else that a release is packed from."""
    return reduce(lambda made, decorate: decorate(made), reversed(_RELEASE), command)


def now() -> datetime:
    """The time, or the one that SOURCE_DATE_EPOCH asks for.

    Raises:
        ConfigError: The variable is no time.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        time = datetime.now(UTC) if text is None else datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"SOURCE_DATE_EPOCH is {text!r}; give seconds since 1970") from None
    return time.replace(microsecond=0)


def packed_tree(asked: dict[str, Any], created: datetime) -> ReleaseTree:
    """The files of the release that the options ask for; its model has passed its own probe here.

    Raises:
        EdgeError: Something is missing or damaged, or the probe failed, with its exit code.
    """
    names = ("model", "probe", "app", "model_licence", "name", "version")
    tree = release_tree(ReleaseParts(created=created, **{name: asked[name] for name in names}))
    _check_probe(asked["model"], asked["probe"])
    return tree


def _check_probe(model: Path, cases: Path) -> None:
    """The release must prove itself here before it is asked to do so elsewhere."""
    command = [sys.executable, "-m", "edgephi", "probe", str(model), "--cases", str(cases)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return
    error = EdgeError(f"the model does not pass its own probe here: {done.stderr.strip().removeprefix('error: ')}")
    error.exit_code = done.returncode if 1 <= done.returncode <= NOT_AS_RECORDED else EdgeError.exit_code
    raise error
