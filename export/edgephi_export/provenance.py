"""Origin and files of a written folder: checkpoint, revision, versions of the tools, sizes and hashes."""

from __future__ import annotations

from pathlib import Path

from edgephi.base.version import package_version
from edgephi.bundle.bundle import file_sha256
from edgephi.bundle.manifest import FileInfo, SourceInfo
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.hub.download import CheckpointSource


def generator() -> str:
    """The name and version of this program."""
    return f"edgephi {package_version()}"


def source_info(checkpoint: Checkpoint, located: CheckpointSource) -> SourceInfo:
    """The origin of a folder, for its manifest."""
    return SourceInfo(
        id=located.id,
        revision=located.revision,
        model_type=checkpoint.config.model_type,
        config_sha256=checkpoint.config_sha256,
        merged_adapter=checkpoint.adapter,
    )


def describe(folder: Path, name: str) -> FileInfo:
    """Size and hash of a finished file, which is read for it."""
    path = folder / name
    return FileInfo(path=name, bytes=path.stat().st_size, sha256=file_sha256(path))
