"""A Debian package: the release's tree below /opt, judged by its own probe when it is installed.

The operating system's own tools own updates then: no agent, no second release beside the first.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO

from edgephi.base.errors import ConfigError
from edgephi_pack.app.components import Components
from edgephi_pack.tree import PROBE_COMMAND, TreeFile

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DebFacts:
    """What the package says of itself.

    Attributes:
        name: Of the package, and of its folder below /opt.
        version: As Debian compares versions.
        maintainer: A name and an address.
        created: The time of every file.
    """

    name: str
    version: str
    maintainer: str
    created: datetime

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"{self.name!r} is no name of a package; use lower-case letters, digits, + - and .")
        if not _VERSION.fullmatch(self.version):
            raise ConfigError(f"{self.version!r} is no version of a package; begin with a digit, such as 1.0")
        if "\n" in self.maintainer or "<" not in self.maintainer:
            raise ConfigError(f"{self.maintainer!r} is no maintainer; give `NAME <ADDRESS>`")

    @property
    def folder(self) -> PurePosixPath:
        """Where the release lies on the device."""
        return PurePosixPath("/opt", self.name)


def write_deb(stream: BinaryIO, files: Sequence[TreeFile], components: Components | None, facts: DebFacts) -> None:
    """Write the package, uncompressed: weights hardly compress. Equal releases give equal bytes.

    Args:
        stream: Of the output; must be able to seek.
        files: Of the release.
        components: Decide the architecture and Python; None where the device has edgephi.
        facts: Of the package.
    """
    epoch = int(facts.created.timestamp())
    stream.write(b"!<arch>\n")
    _member(stream, "debian-binary", b"2.0\n", epoch)
    sums: list[str] = []
    control_at = stream.tell()
    control = _control_tar([], files, components, facts, "0" * 32)
    _member(stream, "control.tar", control, epoch)
    size_at = stream.tell() + 48
    stream.write(_ar_header("data.tar", 0, epoch))
    began = stream.tell()
    _data_tar(stream, files, facts, sums)
    size = stream.tell() - began
    stream.write(b"\n" * (size % 2))
    stream.seek(size_at)
    stream.write(b"%-10d" % size)
    stream.seek(control_at)
    _member(stream, "control.tar", _control_tar(sums, files, components, facts, ""), epoch)
    stream.seek(0, io.SEEK_END)


def _control_tar(
    sums: list[str], files: Sequence[TreeFile], components: Components | None, facts: DebFacts, placeholder: str
) -> bytes:
    """The same number of bytes with a placeholder for the sums of files as with them."""
    lines = sums or [f"{placeholder}  {_place(file, facts)}\n" for file in files]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, mode, text in (
            ("./control", 0o644, _control(files, components, facts)),
            ("./md5sums", 0o644, "".join(lines)),
            ("./postinst", 0o755, _postinst(facts)),
        ):
            content = text.encode()
            archive.addfile(_info(name, mode, len(content), facts), io.BytesIO(content))
    return out.getvalue()


def _control(files: Sequence[TreeFile], components: Components | None, facts: DebFacts) -> str:
    target = None if components is None else components.target
    fields = {
        "Package": facts.name,
        "Version": facts.version,
        "Architecture": "all" if target is None else _ARCHITECTURES[target.arch],
        "Maintainer": facts.maintainer,
        "Installed-Size": str(sum(file.size for file in files) // 1024 + 1),
        "Section": "misc",
        "Priority": "optional",
    }
    if target is not None:
        minor = int(target.python.partition(".")[2])
        python = f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1})"
        fields["Depends"] = f"{python}, libc6 (>= {target.glibc})"
    fields["Description"] = f"{facts.name}, a model that answers without a network"
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def _postinst(facts: DebFacts) -> str:
    program, *arguments = PROBE_COMMAND
    return (
        "#!/bin/sh\n"
        "# The package counts as installed once the model answers on this device as it was recorded.\n"
        'set -e\n[ "$1" = configure ] || exit 0\n'
        f"cd {facts.folder} && ./{program} {' '.join(arguments)} >/dev/null\n"
    )


def _data_tar(stream: BinaryIO, files: Sequence[TreeFile], facts: DebFacts, sums: list[str]) -> None:
    folders = {PurePosixPath("opt"), PurePosixPath("opt", facts.name)}
    places = [PurePosixPath(_place(file, facts)) for file in files]
    folders |= {parent for place in places for parent in place.parents if parent != PurePosixPath(".")}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(_folder(".", facts))
        for folder in sorted(folders):
            archive.addfile(_folder(f"./{folder}", facts))
        for file, place in zip(files, places, strict=True):
            with io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source.open("rb") as opened:
                reader = _Hashed(opened)
                archive.addfile(_info(f"./{place}", file.mode | 0o200, file.size, facts), reader)
            sums.append(f"{reader.md5.hexdigest()}  {place}\n")


class _Hashed:
    """A stream that is read once, with the sum that Debian's tools compare."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, num_bytes: int = -1, /) -> bytes:
        """As of a stream."""
        data = self._stream.read(num_bytes)
        self.md5.update(data)
        return data


def _place(file: TreeFile, facts: DebFacts) -> str:
    return f"opt/{facts.name}/{file.path}"


def _info(name: str, mode: int, size: int, facts: DebFacts) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, int(facts.created.timestamp())
    info.uname = info.gname = "root"
    return info


def _folder(name: str, facts: DebFacts) -> tarfile.TarInfo:
    info = _info(name, 0o755, 0, facts)
    info.type = tarfile.DIRTYPE
    return info


def _member(stream: BinaryIO, name: str, content: bytes, epoch: int) -> None:
    stream.write(_ar_header(name, len(content), epoch) + content + b"\n" * (len(content) % 2))


def _ar_header(name: str, size: int, epoch: int) -> bytes:
    return b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), epoch, 0, 0, b"100644", size)
