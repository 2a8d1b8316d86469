"""`edgephi version`."""

from __future__ import annotations

import click


@click.command()
def version() -> None:
    """Print the version, and that of ONNX Runtime if it is installed.

    \b
    Example:
      edgephi version
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from edgephi.base.version import package_version

    click.echo(f"edgephi {package_version()}")
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            click.echo(f"{name} {installed(name)}")
        except PackageNotFoundError:
            continue
