"""Small wheels in a folder, for pip without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_wheel(
    folder: Path,
    name: str,
    *,
    requires: Sequence[str] = (),
    metadata: Sequence[str] = ("License-Expression: MIT",),
    files: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """A wheel of version 1.0; without `files`, a package of its name with a licence."""
    info = f"{name}-1.0.dist-info"
    content = {f"{name}/__init__.py": "", f"{info}/licenses/LICENSE": "MIT"} if files is None else dict(files)
    head = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *metadata]
    content[f"{info}/METADATA"] = "\n".join([*head, *(f"Requires-Dist: {one}" for one in requires)]) + "\n"
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content[f"{info}/RECORD"] = "".join(_line(path, text) for path, text in content.items()) + f"{info}/RECORD,,\n"
    place = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), text)
    return place


def _line(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text.encode())}\n"
