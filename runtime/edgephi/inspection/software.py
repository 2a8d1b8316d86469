"""The installed libraries, and whether they can be used."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

from edgephi.base.version import ORT_PACKAGES, installed_version, package_version

#: The distribution by the module it brings.
_PACKAGES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "jinja2": "jinja2",
    "PIL": "pillow",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "click": "click",
}
_ORT = "onnxruntime"
_CPU_PROVIDER = "CPUExecutionProvider"
_TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A library the runtime needs; `version` is None where it cannot be used."""

    name: str
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The installation. `telemetry` is None without ONNX Runtime."""

    system: str
    python: str
    packages: tuple[Package, ...]
    providers: tuple[str, ...]
    telemetry: bool | None

    def advice(self) -> Iterator[str]:
        """A line for what is installed but does not serve."""
        if self.providers and _CPU_PROVIDER not in self.providers:
            yield "this ONNX Runtime has no CPU provider, which edgephi runs on; install onnxruntime"


def check_software() -> tuple[Software, list[str]]:
    """The installation, and a line for each thing that is wrong with it."""
    # Read once by the library when it loads, so before the first import; a value that the user gave stays.
    os.environ.setdefault(_TELEMETRY_VARIABLE, "1")
    packages, problems = [Package(name="edgephi", version=package_version())], []
    for module, name in _PACKAGES.items():
        package, problem = _check_package(module, name)
        packages.append(package)
        problems += [] if problem is None else [problem]
    has_ort = any(package.name == _ORT and package.version for package in packages)
    telemetry = os.environ[_TELEMETRY_VARIABLE] != "1" if has_ort else None
    if telemetry:
        problems.append(f"ONNX Runtime may send telemetry: {_TELEMETRY_VARIABLE} is set to something else than 1")
    software = Software(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages=tuple(packages),
        providers=tuple(importlib.import_module(_ORT).get_available_providers()) if has_ort else (),
        telemetry=telemetry,
    )
    return software, problems


def _check_package(module: str, name: str) -> tuple[Package, str | None]:
    """A library, and why it cannot be used."""
    versions = map(installed_version, ORT_PACKAGES if module == _ORT else (name,))
    installed = next(filter(None, versions), None)
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # a library with missing files raises anything
        return Package(name=name, version=None), _unusable(name, installed, error)
    return Package(name=name, version=installed or getattr(imported, "__version__", "unknown")), None


def _unusable(name: str, installed: str | None, error: Exception) -> str:
    package = '"edgephi[cpu]"' if name == _ORT else name
    if installed is None and isinstance(error, ImportError):
        return f"{name} is not installed; run: pip install {package}"
    return f"{name} cannot be imported ({error}); run: pip install --force-reinstall {package}"
