"""Puts the checkpoint's licence and card into a finished folder, and on request a card of the folder's own."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.documents import MOST_BYTES, SOURCE_CARD, is_document, read_documents
from edgephi.bundle.manifest import FileInfo, Manifest
from edgephi_export.layouts.genai.record import RECORD_NAME, GenaiRecord
from edgephi_export.provenance import describe

_CARD = "README.md"
_TASKS = {"vision": "image-text-to-text", "speech": "automatic-speech-recognition"}


def add_documents(folder: Path, checkpoint: Path, *, push_ready: bool) -> None:
    """Copy what is there and list it in the folder's description.

    Args:
        folder: A finished model folder, in either layout.
        checkpoint: What it was made from.
        push_ready: Also write a model card, so that the folder can be uploaded as it is.

    Raises:
        OSError: A file cannot be copied.
    """
    is_genai = (folder / RECORD_NAME).is_file()
    described = GenaiRecord.load(folder) if is_genai else Bundle(folder).manifest
    names = _copy(checkpoint, folder)
    if push_ready:
        licence = read_documents(folder, names).licence
        # Not listed: its owner may go on writing it.
        (folder / _CARD).write_text(model_card(described, licence), encoding="utf-8")
    if not names:
        return
    files = _with(described.files, [describe(folder, name) for name in names])
    text = dataclasses.replace(described, files=files).to_json()
    (folder / (RECORD_NAME if is_genai else MANIFEST_NAME)).write_text(text, encoding="utf-8")


def model_card(described: Manifest | GenaiRecord, licence: str | None) -> str:
    """The text of README.md as the Hugging Face hub reads it.

    Args:
        described: What the folder says about itself.
        licence: Of the checkpoint; None where it states none.
    """
    source, recipe, modalities = described.source, described.recipe.name, described.modalities
    task = next((_TASKS[name] for name in modalities if name in _TASKS), "text-generation")
    is_genai = isinstance(described, GenaiRecord)
    known = re.fullmatch(r"[a-z0-9.+-]+", licence or "")
    front = ["---", f"license: {licence if known else 'other'}"]
    if source.revision is not None:  # only then is it an id
        front += [f"base_model: {source.id}", "base_model_relation: quantized"]
    front += [f"pipeline_tag: {task}", f"library_name: {'onnxruntime-genai' if is_genai else 'edgephi'}", "tags:"]
    front += [f"- {tag}" for tag in ("onnx", "edgephi", recipe, *modalities)] + ["---", ""]
    made_from = f"{source.id} at {source.revision}" if source.revision else source.id
    body = [
        f"# {source.id.rpartition('/')[2]}, {recipe}, for edge devices",
        "",
        f"ONNX graphs and weights made from **{made_from}** by {described.generator}: recipe `{recipe}`, adapters "
        f"`{described.adapters.mode}`, takes {', '.join(modalities)}.",
        "",
        *_how_to_run(modalities, is_genai=is_genai),
        "",
        _licence_words(licence),
        "",
    ]
    return "\n".join([*front, *body])


def _how_to_run(modalities: tuple[str, ...], *, is_genai: bool) -> list[str]:
    if is_genai:
        return ["Runs with onnxruntime-genai: give it this folder."]
    lines = ["```sh", 'pip install "edgephi[cpu]"', "edgephi pull ORG/NAME -o model", 'edgephi run model "Hello"']
    if "vision" in modalities:
        lines.append('edgephi run model "What is this?" --image photo.jpg')
    if "speech" in modalities:
        lines.append("edgephi transcribe model recording.wav")
    return [*lines, "```"]


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


def _with(files: tuple[FileInfo, ...], more: list[FileInfo]) -> tuple[FileInfo, ...]:
    return tuple(sorted((*files, *more), key=lambda info: info.path))
