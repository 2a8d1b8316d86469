"""Versions of this distribution and of the libraries it runs on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

#: Distributions that bring `onnxruntime`, by processor.
ORT_PACKAGES = ("onnxruntime", "onnxruntime-gpu")


def installed_version(package: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_version() -> str:
    """Such as `0.1.0`; `unknown (not installed)` where only the sources are there."""
    return installed_version("edgephi") or "unknown (not installed)"


__version__ = package_version()
