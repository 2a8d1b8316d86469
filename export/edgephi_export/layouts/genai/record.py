"""edgephi_export.json: what a folder for onnxruntime-genai was made from, and which files it consists of.

The library that runs the folder does not read it; `--force` and the summary do.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgephi.base.json_file import decode, read_json
from edgephi.bundle.manifest import AdaptersInfo, FileInfo, RecipeInfo, SourceInfo

#: Another name than the manifest's: `edgephi run` cannot run such a folder, and says so.
RECORD_NAME = "edgephi_export.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenaiRecord:
    """Everything edgephi_export.json says."""

    layout: Literal["genai"]
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
    def load(cls, folder: Path) -> GenaiRecord:
        """The record of a folder.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """
        path = folder / RECORD_NAME
        return decode(cls, read_json(path), str(path))
