"""edgephi_export.json: the source, the recipe and the files of a folder that was written for another runtime.

That runtime does not read it; `--force`, `edgephi verify` and the summary of an export do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.base.json_file import decode, read_json
from edgephi.bundle.manifest import AdaptersInfo, FileInfo, RecipeInfo, SourceInfo
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.layouts.layout import FolderDescription, LayoutInput
from edgephi_export.options import ExportOptions, LayoutName
from edgephi_export.provenance import generator, source_info

#: Another name than the manifest's: `edgephi run` cannot run such a folder, and says so.
RECORD_NAME = "edgephi_export.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """Everything edgephi_export.json says."""

    layout: LayoutName
    generator: str
    source: SourceInfo
    recipe: RecipeInfo
    adapters: AdaptersInfo
    modalities: tuple[str, ...]
    files: tuple[FileInfo, ...]

    def to_json(self) -> str:
        """The text of edgephi_export.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, folder: Path) -> ExportRecord:
        """The record of a folder.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """
        path = folder / RECORD_NAME
        return decode(cls, read_json(path), str(path))

    def describe(self) -> FolderDescription:
        """The same as every layout gives it."""
        return FolderDescription(
            layout=self.layout,
            generator=self.generator,
            source=self.source,
            recipe=self.recipe,
            adapters=self.adapters,
            modalities=self.modalities,
            files=self.files,
        )


def write_record(folder: Path, given: LayoutInput, source: CheckpointSource, files: Sequence[FileInfo]) -> None:
    """Write the record of a folder whose other files are complete.

    Args:
        folder: The folder.
        given: What it was planned from.
        source: The name of the checkpoint.
        files: Its other files.
    """
    checkpoint, selection = given.checkpoint, given.selection
    record = ExportRecord(
        layout=given.options.layout,
        generator=generator(),
        source=source_info(checkpoint, source),
        recipe=given.weights.recipe.to_info(),
        adapters=AdaptersInfo(mode=selection.mode, available=checkpoint.config.adapters),
        modalities=selection.modalities,
        files=_sorted(files),
    )
    (folder / RECORD_NAME).write_text(record.to_json(), encoding="utf-8")


class RecordedLayout:
    """What layouts for other runtimes have in common. See `Layout`."""

    record_name = RECORD_NAME
    has_readme = True

    def describe(self, folder: Path) -> FolderDescription:
        """The folder's record.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """
        return ExportRecord.load(folder).describe()

    def add_files(self, folder: Path, added: Sequence[FileInfo]) -> None:
        """List more files in the record.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """
        record = ExportRecord.load(folder)
        record = dataclasses.replace(record, files=_sorted((*record.files, *added)))
        (folder / RECORD_NAME).write_text(record.to_json(), encoding="utf-8")


def check_foreign(options: ExportOptions) -> None:
    """Refuse what only edgephi's own runtime can do.

    Raises:
        ConfigError: A graph for prefill, or an int8 cache.
    """
    for option, asked in (("--prefill", options.prefill is not None), ("--kv-cache", options.kv_cache == "int8")):
        if asked:
            raise ConfigError(
                f"{option} int8 is for edgephi's own layout; leave out --layout {options.layout} or {option}"
            )


def _sorted(files: Sequence[FileInfo]) -> tuple[FileInfo, ...]:
    return tuple(sorted(files, key=lambda info: info.path))
