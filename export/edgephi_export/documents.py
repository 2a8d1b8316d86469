"""Puts the checkpoint's licence and card into a finished folder, and on request a card of the folder's own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgephi.bundle.documents import MOST_BYTES, SOURCE_CARD, is_document, read_documents
from edgephi_export.layouts.layout import FolderDescription, Layout
from edgephi_export.provenance import describe

_CARD = "README.md"
_TASKS = {"vision": "image-text-to-text", "speech": "automatic-speech-recognition"}


def add_documents(folder: Path, checkpoint: Path, layout: Layout, *, push_ready: bool) -> None:
    """Copy what is there and list it in the folder's record.

    Args:
        folder: A finished model folder.
        checkpoint: What it was made from.
        layout: The layout of the folder.
        push_ready: Also write a model card, so that the folder can be uploaded as it is.

    Raises:
        OSError: A file cannot be copied.
    """
    names = _copy(checkpoint, folder)
    if push_ready or layout.has_readme:
        described = layout.describe(folder)
        licence = read_documents(folder, names).licence
        text = model_card(described, layout, licence) if push_ready else _lines(layout.usage(described))
        # Not listed: its owner may go on writing it.
        (folder / _CARD).write_text(text, encoding="utf-8")
    if names:
        layout.add_files(folder, [describe(folder, name) for name in names])


def model_card(described: FolderDescription, layout: Layout, licence: str | None) -> str:
    """The text of README.md as the Hugging Face hub reads it.

    Args:
        described: The record of the folder.
        layout: Its layout.
        licence: Of the checkpoint; None where it states none.
    """
    source, recipe, modalities = described.source, described.recipe.name, described.modalities
    task = next((_TASKS[name] for name in modalities if name in _TASKS), "text-generation")
    known = re.fullmatch(r"[a-z0-9.+-]+", licence or "")
    front = ["---", f"license: {licence if known else 'other'}"]
    if source.revision is not None:  # only then is it an id
        front += [f"base_model: {source.id}", "base_model_relation: quantized"]
    front += [f"pipeline_tag: {task}", f"library_name: {layout.library}", "tags:"]
    front += [f"- {tag}" for tag in ("onnx", "edgephi", recipe, *modalities)] + ["---", ""]
    made_from = f"{source.id} at {source.revision}" if source.revision else source.id
    body = [
        f"# {source.id.rpartition('/')[2]}, {recipe}, for edge devices",
        "",
        f"ONNX graphs and weights made from **{made_from}** by {described.generator}: recipe `{recipe}`, adapters "
        f"`{described.adapters.mode}`, takes {', '.join(modalities)}.",
        "",
        *layout.usage(described),
        "",
        _licence_words(licence),
    ]
    return _lines([*front, *body])


def _lines(lines: Sequence[str]) -> str:
    return "\n".join([*lines, ""])


def _licence_words(licence: str | None) -> str:
    if licence is None:
        return "The checkpoint came without a licence; ask its authors before you use or share this."
    return f"Licence of the checkpoint: {licence}. Its own papers lie beside the weights and in `source/`."


def _copy(checkpoint: Path, folder: Path) -> list[str]:
    """Copies the documents; gives their paths within the folder."""
    names = []
    for path in sorted(checkpoint.iterdir()):
        if not (is_document(path.name) and path.is_file() and path.stat().st_size <= MOST_BYTES):
            continue
        name = SOURCE_CARD if path.name.lower() == _CARD.lower() else path.name
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
        names.append(name)
    return names
