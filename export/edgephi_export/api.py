"""The Python entry: `export`.

Owns the signature. Light to import: everything heavy is loaded when an export starts.
"""

from __future__ import annotations

from pathlib import Path

from edgephi_export.options import ExportOptions, OnProgress


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
