"""`edgephi version`."""

from __future__ import annotations

import click

from edgephi.base.version import ORT_PACKAGES, installed_version, package_version


@click.command()
def version() -> None:
    """Print the version, and that of ONNX Runtime if it is installed.

    \b
    Example:
      edgephi version
    """
    click.echo(f"edgephi {package_version()}")
    for name in ORT_PACKAGES:
        if (installed := installed_version(name)) is not None:
            click.echo(f"{name} {installed}")
