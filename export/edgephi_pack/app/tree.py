"""Installs the locked wheels for the device, takes away what it never reads, and adds edgephi as it is on this host.

OUT/app/             what the release puts on Python's path
OUT/licences/        THIRD-PARTY.txt and a folder for each package
OUT/app.lock         the lock
OUT/components.json  for the bill of materials
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.utils import canonicalize_name

from edgephi.base.errors import ConfigError
from edgephi_pack.app.components import COMPONENTS_NAME, Component, Components
from edgephi_pack.app.licences import Licence, licence_of, third_party
from edgephi_pack.app.lock import Lock
from edgephi_pack.app.pip import pip_install

LOCK_NAME = "app.lock"
APP, LICENCES = "app", "licences"
OWN_PACKAGES = ("edgephi", "edgephi_serve")
#: Folders of packages that running a model never reads: tests, headers, tools that change graphs, wheels' data files.
_FOLDERS = (
    "bin", "include", "lib64", "share", "*/tests", "*/*/tests", "numpy/_core/include", "numpy/_pyinstaller",
    "numpy/distutils", "numpy/f2py", "numpy/random/lib", "onnxruntime/backend", "onnxruntime/datasets",
    "onnxruntime/quantization", "onnxruntime/tools", "onnxruntime/transformers",
)  # fmt: skip
_SUFFIXES = (".a", ".c", ".cmake", ".h", ".hpp", ".lib", ".pxd", ".pyc", ".pyi", ".pyx")
#: Of a package's metadata: paths of this host, and a list of files that is no longer right.
_METADATA = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def make_app(lock: Lock, folder: Path, licences: Mapping[str, str]) -> Components:
    """Make the application folder.

    Args:
        lock: Its packages.
        folder: Empty; filled.
        licences: SPDX expressions by package, for those that state none.

    Returns:
        What is in it.

    Raises:
        EdgeError: pip does not find the locked wheels.
        ConfigError: A licence is not known.
    """
    app = folder / APP
    (folder / LOCK_NAME).write_text(lock.text(), encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--no-compile", "--target", str(app), *lock.target.pip_options()]
    pip_install([*options, "--requirement", str(folder / LOCK_NAME)])
    own = distribution("edgephi")
    apache = _own_licence(own)
    terms: dict[str, Licence] = {"edgephi": Licence("Apache-2.0", {"LICENSE": apache})}
    for info in sorted(app.glob("*.dist-info")):
        package = PathDistribution(info)
        terms[canonicalize_name(package.metadata["Name"])] = licence_of(package, licences, apache)
    _write_licences(folder / LICENCES, terms)
    _prune(app)
    _copy_own(app, own)
    components = Components(target=lock.target, components=tuple(_components(lock, terms, own.version)))
    (folder / COMPONENTS_NAME).write_text(components.to_json(), encoding="utf-8")
    return components


def _components(lock: Lock, terms: Mapping[str, Licence], version: str) -> Iterator[Component]:
    def one(name: str, version: str, purl: str, sha256: str | None) -> Component:
        files = tuple(sorted(f"{name}/{text}" for text in terms[name].texts))
        return Component(
            name=name, version=version, purl=purl, sha256=sha256, licence=terms[name].expression, licence_files=files
        )

    yield one("edgephi", version, f"pkg:pypi/edgephi@{version}", None)
    for package in lock.packages:
        yield one(package.name, package.version, package.purl, package.sha256)


def _write_licences(folder: Path, terms: Mapping[str, Licence]) -> None:
    for name, licence in terms.items():
        (folder / name).mkdir(parents=True)
        for text, content in licence.texts.items():
            (folder / name / text).write_bytes(content)
    (folder / "THIRD-PARTY.txt").write_text(third_party(terms), encoding="utf-8")


def _prune(app: Path) -> None:
    for pattern in _FOLDERS:
        for path in app.glob(pattern):
            shutil.rmtree(path)
    for path in [*app.rglob("*")]:
        is_metadata = path.parent.suffix == ".dist-info" and path.name in _METADATA
        if path.is_file() and (path.suffix in _SUFFIXES or is_metadata):
            path.unlink()
    for path in sorted(app.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _own_licence(own: Distribution) -> bytes:
    for file in own.files or []:
        path = Path(str(file.locate()))
        if path.name == "LICENSE" and path.is_file():
            return path.read_bytes()
    raise ConfigError("this edgephi is installed without its licence; install it with pip")


def _copy_own(app: Path, own: Distribution) -> None:
    """The packages as they run here, without what earlier runs left, and metadata that name their commands."""
    for name in OWN_PACKAGES:
        source = Path(str(importlib.import_module(name).__file__)).parent
        shutil.copytree(source, app / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    info = app / f"edgephi-{own.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(own.read_text("METADATA") or "", encoding="utf-8")
    groups: dict[str, list[str]] = {}
    for point in sorted(own.entry_points, key=lambda one: (one.group, one.name)):
        if point.value.partition(":")[0].partition(".")[0] in OWN_PACKAGES:
            groups.setdefault(point.group, []).append(f"{point.name} = {point.value}\n")
    text = "\n".join(f"[{group}]\n{''.join(lines)}" for group, lines in groups.items())
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
