"""The licence, the model card and other documents that travel with a model folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Names of files, at the top of a checkpoint, that people must be able to read beside the weights.
_DOCUMENT = re.compile(
    r"(licen[cs]e|copying|notice|readme|model_?card|security|code_of_conduct|use_?policy|acceptable_use)s?([.\-_][\w.-]*)?",
    re.IGNORECASE,
)
_LICENCE = re.compile(r"(licen[cs]e|copying)s?([.\-_][\w.-]*)?", re.IGNORECASE)
#: A checkpoint's own card; README.md of a model folder is about that folder.
SOURCE_CARD = "source/README.md"
_CARD = "README.md"
#: What is larger is no document.
MOST_BYTES = 4 << 20
_READ_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The documents beside the weights.

    Attributes:
        licence: Its name, such as `mit`, or the first line of its file; None where nothing states one.
        files: Paths within the folder.
    """

    licence: str | None
    files: tuple[str, ...]


def is_document(name: str) -> bool:
    """Whether a file at the top of a checkpoint is to be copied."""
    return _DOCUMENT.fullmatch(name) is not None


def read_documents(folder: Path, names: Iterable[str]) -> Documents:
    """The documents among `names`, which are paths within `folder`."""
    files = tuple(sorted(name for name in names if name == SOURCE_CARD or is_document(name)))
    stated = (stated_licence(_text(folder / name)) for name in (SOURCE_CARD, _CARD) if name in files)
    titles = (_first_line(_text(folder / name)) for name in files if _LICENCE.fullmatch(name))
    return Documents(licence=next(filter(None, (*stated, *titles)), None), files=files)


def stated_licence(card: str) -> str | None:
    """The licence that a model card's front matter names."""
    front = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card, re.DOTALL)
    if front is None:
        return None
    stated = dict(re.findall(r"^(license|license_name):[ \t]*[\"']?([\w.+-]+)", front[1], re.MULTILINE))
    name = stated.get("license")
    return stated.get("license_name", name) if name == "other" else name


def _first_line(text: str) -> str | None:
    lines = (" ".join(line.strip(" #*").split()) for line in text.splitlines())
    return next((line[:80] for line in lines if line), None)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(_READ_CHARACTERS)
    except OSError:
        return ""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")
