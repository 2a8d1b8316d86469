"""`Layout`: one kind of folder that an export can write; each is a room of its own beside this file.

The exporter asks in this order: `check` the options, `choose` the parts, `plan` the graphs and the places of weights,
`write` the planned folder, and `describe` it when it is complete. Nothing outside a layout's room knows its files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgephi.bundle.manifest import AdaptersInfo, FileInfo, RecipeInfo, SourceInfo
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.selection import Selection
from edgephi_export.hub.download import CheckpointSource
from edgephi_export.options import ExportOptions, LayoutName
from edgephi_export.progress import Meter
from edgephi_export.weights.plan import WeightPlan

if TYPE_CHECKING:  # it imports the runtime's media code, which most exports do without
    from edgephi_export.calibration.samples import CalibrationFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutInput:
    """All that a layout plans a folder from.

    Attributes:
        options: The options of the export, which `Layout.check` accepted.
        checkpoint: The opened checkpoint.
        selection: The parts of it, as `Layout.choose` gave them.
        weights: Gets every tensor that the folder needs.
        calibration: The user's files to calibrate an int8 cache with; None where none is made.
    """

    options: ExportOptions
    checkpoint: Checkpoint
    selection: Selection
    weights: WeightPlan
    calibration: CalibrationFiles | None = None


class FolderPlan(Protocol):
    """A folder that can be written: its graphs are built and checked, and every tensor has a place."""

    def write(self, source: CheckpointSource, folder: Path, threads: int, meter: Meter) -> None:
        """Write every file; the record comes last.

        Args:
            source: The name of the checkpoint, for the record.
            folder: The place; it exists and is empty.
            threads: Workers.
            meter: Gets the progress.

        Raises:
            ArtifactError: A tensor of the checkpoint cannot be read or holds values that are not finite.
            ConfigError: A value is too large for its format.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDescription:
    """The record of a finished folder, as far as every layout has it.

    Attributes:
        layout: Which layout it has.
        generator: Name and version of the program that wrote it.
        source: The checkpoint.
        recipe: How weights are stored.
        adapters: How adapters are built in.
        modalities: What it takes.
        files: Every listed file; the record itself is not among them.
        ends: The texts of the tokens that end a reply; empty where the record does not name them.
        not_applied: Recommendations of the checkpoint's generation_config.json that the folder's runtime ignores.
    """

    layout: LayoutName
    generator: str
    source: SourceInfo
    recipe: RecipeInfo
    adapters: AdaptersInfo
    modalities: tuple[str, ...]
    files: tuple[FileInfo, ...]
    ends: tuple[str, ...] = ()
    not_applied: tuple[str, ...] = ()


class Layout(Protocol):
    """One kind of folder that an export can write. Its methods keep nothing between calls."""

    @property
    def record_name(self) -> str:
        """The file that says that edgephi made a folder of this layout, so that `--force` may replace it."""

    @property
    def library(self) -> str:
        """The library that runs the folder, as the Hugging Face hub names it."""

    def check(self, options: ExportOptions) -> None:
        """Refuse options that this layout cannot follow; called before anything is read.

        Raises:
            ConfigError: There is one.
        """

    def choose(self, options: ExportOptions, available: tuple[Modality, ...]) -> Selection:
        """The parts of a checkpoint that the folder will hold.

        Args:
            options: The options of the export.
            available: The modalities that the checkpoint has.

        Raises:
            ConfigError: The options ask for parts that the checkpoint or the layout has not.
        """

    def plan(self, given: LayoutInput) -> FolderPlan:
        """Build and check the graphs; `given.weights` gets every tensor they need.

        Raises:
            ArtifactError: A small file of the checkpoint that the folder needs is damaged.
            EdgeError: A graph is not valid ONNX, which is a fault of this program.
        """

    def describe(self, folder: Path) -> FolderDescription:
        """Read the record of a finished folder.

        Raises:
            ArtifactError: There is none, or it is damaged.
        """

    def add_files(self, folder: Path, added: Sequence[FileInfo]) -> None:
        """List more files in the record of a finished folder.

        Raises:
            ArtifactError: There is no record, or it is damaged.
        """

    def usage(self, described: FolderDescription) -> tuple[str, ...]:
        """How to run the folder and what to mind, as lines of Markdown for its README.md."""

    @property
    def has_readme(self) -> bool:
        """Whether a folder gets a README.md with `usage` where no model card was asked for."""
