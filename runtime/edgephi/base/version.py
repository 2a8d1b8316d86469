"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Such as `0.1.0`; `unknown (not installed)` where only the sources are there."""
    try:
        return version("edgephi")
    except PackageNotFoundError:
        return "unknown (not installed)"


__version__ = package_version()
