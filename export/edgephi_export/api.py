"""The Python entry: `export`, its options and its progress.

Owns the signatures. Light to import: everything heavy is loaded when an export starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an export does besides its input and output.

    Attributes:
        recipe: How weights are stored.
        adapters: `routed`, `speech`, `vision` or `none`; None is routed where the model has adapters.
        modalities: `text` and the encoders to include; None is all that the adapters allow.
        force: Replace an existing model folder, at the end.
    """

    recipe: str = "fp32"
    adapters: str | None = None
    modalities: tuple[str, ...] | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an export is.

    Attributes:
        stage: What is being done.
        done_bytes: Weight bytes written so far.
        total_bytes: Weight bytes in all.
    """

    stage: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


def export(
    checkpoint: str | Path,
    output: str | Path,
    options: ExportOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Turn a checkpoint into a model folder.

    Args:
        checkpoint: A folder, or a Hugging Face id such as `microsoft/Phi-4-multimodal-instruct`.
        output: The folder to make. It appears when everything is written; a failed export leaves nothing behind.
        options: See ExportOptions.
        on_progress: Hears of each step and each write.

    Returns:
        `output` as a path.

    Raises:
        ConfigError: An option that cannot be followed, or an output place that cannot be written.
        ArtifactError: The checkpoint is missing, damaged, or of a kind that is not supported.
        CapacityError: The disk is too small.
        EdgeError: The checkpoint could not be downloaded.
    """
    from edgephi_export.exporter import run_export  # noqa: PLC0415 - keeps `edgephi --help` fast

    return run_export(checkpoint, Path(output), options or ExportOptions(), on_progress)
