"""Every suite by its name, and the items of one from a folder of data."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_evaluate.item import Item
from edgephi_evaluate.readers.found import Files, find_files
from edgephi_evaluate.readers.items import read_items
from edgephi_evaluate.readers.rows import read_rows
from edgephi_evaluate.suite import Suite
from edgephi_evaluate.suites import calls, harness, images, nano, own, speech, spoken, text, translation

SUITES: dict[str, Suite] = {
    suite.name: suite for room in (speech, translation, images, spoken, text, calls, own, nano) for suite in room.SUITES
}


def find_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        ConfigError: There is none.
    """
    if name.startswith(harness.PREFIX):
        return harness.harness_suite(name)
    if name in calls.NOT_MEASURED:
        raise ConfigError(f"{name}: not measured here, for {calls.NOT_MEASURED[name]}; use bfcl, or the harness itself")
    if name not in SUITES:
        raise ConfigError(f"{name!r}: no such suite; known: {', '.join(SUITES)}, and {harness.PREFIX}TASK")
    return SUITES[name]


def suite_files(suite: Suite, data: Path) -> Files:
    """The data files of a suite, in the folder of its name below `data`, or in `data` itself.

    Raises:
        ConfigError: There are none.
    """
    own_folder = data / suite.name
    patterns = tuple((part.name, part.patterns) for part in suite.parts)
    return find_files(own_folder if own_folder.is_dir() else data, patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which items of a suite are asked.

    Attributes:
        limit: Most of each part; None for all.
        seed: Draws them where there is a limit.
        shard: Which of `shards`, from 1.
        shards: Into how many the items are divided.
    """

    limit: int | None = None
    seed: int = 0
    shard: int = 1
    shards: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.shard <= self.shards:
            raise ConfigError(f"--shard {self.shard}/{self.shards}: write I/N with I from 1 to N")


def suite_items(suite: Suite, files: Files) -> Iterator[Item]:
    """Every item of a suite, in the order of its files.

    Raises:
        ArtifactError: A row that is no item, or one without an answer.
        ConfigError: A package of the extra is missing.
    """
    for item in _items(suite, files):
        if not item.answers and suite.metric.name != "calls":
            raise ArtifactError(f"{files.folder}: item {item.id} has no answers, so it cannot be judged; give them")
        yield item


def _items(suite: Suite, files: Files) -> Iterator[Item]:
    if files.items is not None:
        languages = {part.name: part.language for part in suite.parts}
        for item in read_items(files.items, suite.prompt if suite.same_prompt else None):
            yield item if item.language else replace(item, language=languages.get(item.part, ""))
        return
    parts = {part.name: part for part in suite.parts}
    for name, paths in files.parts:
        for path in paths:
            for row in read_rows(path):
                made = suite.build(row, parts[name])
                if made is not None:
                    yield made


def selected(items: list[Item], selection: Selection) -> list[Item]:
    """The items of a shard, longest first, those whose media are read together one after another.

    Raises:
        ArtifactError: Two items have one id.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ArtifactError(f"item {item.id} is there twice; give each an id of its own")
        seen.add(item.id)
    if selection.limit is not None:
        items = _limited(items, selection.limit, selection.seed)
    mine = [item for item in items if shard_of(item.id, selection.shards) == selection.shard]
    largest: dict[str, int] = {}
    for item in mine:
        largest[_block(item)] = max(largest.get(_block(item), 0), item.size_bytes)
    return sorted(mine, key=lambda item: (-largest[_block(item)], _block(item), -item.size_bytes, item.id))


def shard_of(name: str, shards: int) -> int:
    """The shard of an item, from 1, by its id alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % shards + 1


def _block(item: Item) -> str:
    return next((one.block for one in item.media if one.block), f"item {item.id}")


def _limited(items: list[Item], limit: int, seed: int) -> list[Item]:
    parts: dict[str, list[Item]] = {}
    for item in items:
        parts.setdefault(item.part, []).append(item)
    return [one for name, part in parts.items() for one in _drawn(part, limit, f"{seed} {name}")]


def _drawn(items: list[Item], limit: int, seed: str) -> list[Item]:
    return items if len(items) <= limit else random.Random(seed).sample(items, limit)
