"""The licences of the packages in an application tree: an SPDX expression and at least one text of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.utils import canonicalize_name

from edgephi.base.errors import ConfigError

#: Names that packages write where SPDX has an identifier.
_SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "mit license": "MIT",
    "osi approved :: apache software license": "Apache-2.0",
    "osi approved :: mit license": "MIT",
}
#: Packages whose metadata leave the choice among several licences of one name.
_KNOWN = {"jinja2": "BSD-3-Clause"}
_IDENTIFIER = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_TEXT = re.compile(r"(?i)(licen[cs]e|copying|notice|third.?party|privacy).*")
_APACHE = "Apache-2.0"
#: Libraries inside a wheel whose licence asks that they can be replaced.
_REPLACEABLE = {
    "soxr": "libsoxr (LGPL-2.1-or-later), in the folder app/soxr of this release",
    "soundfile": "libsndfile (LGPL-2.1-or-later), in the folder app/_soundfile_data of this release",
}


@dataclass(frozen=True, slots=True)
class Licence:
    """Of one package: its expression and its texts, by their names."""

    expression: str
    texts: Mapping[str, bytes]


def licence_of(distribution: PathDistribution, given: Mapping[str, str], apache: bytes) -> Licence:
    """The licence of an installed package, whose files its RECORD lists.

    Args:
        distribution: The package.
        given: Expressions by normalized name, which the packager states.
        apache: Text of the Apache License 2.0, for packages under it that carry none.

    Raises:
        ConfigError: The metadata name no licence, or no text comes with it.
    """
    name: str = canonicalize_name(distribution.metadata["Name"])
    expression = given.get(name) or _expression(distribution, name)
    if expression is None:
        raise ConfigError(f"{name} states no licence that is known; read it and give --licence {name}=SPDX")
    texts = dict(_texts(distribution))
    if not texts and expression == _APACHE:
        texts = {"LICENSE": apache}
    if not texts:
        raise ConfigError(f"{name} ({expression}) comes without the text of its licence; leave it out or replace it")
    return Licence(expression, texts)


def third_party(licences: Mapping[str, Licence]) -> str:
    """`THIRD-PARTY.txt`: what is in the release, under which licence, and what may be replaced."""
    lines = ["This release contains the packages below; their licences are in the folders beside this file.", ""]
    lines += [f"{name}: {one.expression}" for name, one in sorted(licences.items())]
    replaceable = [text for name, text in sorted(_REPLACEABLE.items()) if name in licences]
    if replaceable:
        lines += ["", "Shared libraries that you may replace by your own build, as their licence grants:"]
        lines += [f"- {text}" for text in replaceable]
        lines += ["Put the file of the same name in its place and pack the release again, or run it from a copy."]
    return "\n".join(lines) + "\n"


def _expression(distribution: PathDistribution, name: str) -> str | None:
    stated = [_field(distribution, "License-Expression"), _KNOWN.get(name), _field(distribution, "License")]
    prefix, classifiers = "License :: ", distribution.metadata.get_all("Classifier") or []
    stated += [one.removeprefix(prefix) for one in classifiers if one.startswith(prefix)]
    for text in stated:
        if text and (found := _SPDX.get(text.strip().lower()) or (text if _IDENTIFIER.fullmatch(text) else None)):
            return found
    return None


def _field(distribution: PathDistribution, name: str) -> str | None:
    found = distribution.metadata.get_all(name)
    return found[0] if found else None


def _texts(distribution: PathDistribution) -> Iterator[tuple[str, bytes]]:
    """Files that are named like licences: in the metadata, or in the first folder of the package."""
    for file in distribution.files or []:
        parts = file.parts
        at = next((n for n, part in enumerate(parts) if part.endswith(".dist-info")), None)
        own = parts[at + 1 :] if at is not None else parts[1:]
        if own[:1] == ("licenses",) or (len(own) == 1 and _TEXT.fullmatch(own[0])):
            path = Path(str(file.locate()))
            if path.is_file() and path.suffix != ".py":
                yield "_".join(own), path.read_bytes()
