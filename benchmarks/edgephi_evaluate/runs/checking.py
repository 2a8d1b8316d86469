"""What there is of a suite's data, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import EdgeError
from edgephi_evaluate.readers.found import Files
from edgephi_evaluate.readers.rows import read_rows
from edgephi_evaluate.suite import Suite
from edgephi_evaluate.suites.registry import suite_files, suite_items


@dataclass(frozen=True, slots=True, kw_only=True)
class PartData:
    """The rows of one part; `expected` is what was published, None where it is not known."""

    part: str
    rows: int
    expected: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """The data of a suite.

    Attributes:
        suite: Its name.
        folder: Where they are.
        files: How many.
        sha256: Of all of them.
        items: How many items are asked: some rows are left out, as in the public harness.
        parts: Their rows.
        columns: Found in the first row.
        problems: What is wrong, in words.
    """

    suite: str
    folder: str
    files: int
    sha256: str
    items: int
    parts: tuple[PartData, ...]
    columns: tuple[str, ...]
    problems: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """In words."""
        yield f"{self.suite}: {self.items:,} items of {self.files:,} files in {self.folder}"
        yield f"  sha256 {self.sha256}"
        yield f"  columns {', '.join(self.columns)}"
        for part in self.parts:
            expected = "" if part.expected is None else f" of {part.expected:,}"
            yield f"  {part.part or 'all'}: {part.rows:,}{expected} rows"
        for problem in self.problems:
            yield f"  {problem}"


def check_data(suite: Suite, data: Path) -> DataReport:
    """Read everything once.

    Raises:
        ConfigError: There are no data of this suite at all.
    """
    files = suite_files(suite, data)
    problems: list[str] = []
    parts: list[PartData] = []
    columns: tuple[str, ...] = ()
    items = 0
    try:
        columns = next((row.columns for path in files.all for row in read_rows(path)), ())
        problems += _missing_columns(suite, files, columns)
        parts = list(_parts(suite, files))
        items = sum(1 for _ in suite_items(suite, files))
    except EdgeError as error:
        problems.append(str(error))
    problems += [f"{part.part} is missing" for part in parts if not part.rows]
    problems += [
        f"{part.part} has {part.rows:,} rows, {part.expected:,} were published"
        for part in parts
        if part.rows and part.expected not in (None, part.rows)
    ]
    return DataReport(
        suite=suite.name,
        folder=str(files.folder),
        files=len(files.all),
        sha256=files.sha256(),
        items=items,
        parts=tuple(parts),
        columns=columns,
        problems=tuple(problems),
    )


def _missing_columns(suite: Suite, files: Files, columns: tuple[str, ...]) -> Iterator[str]:
    if files.items is None:
        for wanted in suite.columns:
            if not set(wanted.split("|")) & set(columns):
                yield f"column {' or '.join(wanted.split('|'))} is missing"


def _parts(suite: Suite, files: Files) -> Iterator[PartData]:
    if files.items is not None:
        counted = Counter(row.optional("part") for row in read_rows(files.items))
        for name, rows in sorted(counted.items()):
            yield PartData(part=name, rows=rows, expected=None)
        return
    expected = {part.name: part.rows for part in suite.parts}
    for name, paths in files.parts:
        yield PartData(part=name, rows=sum(1 for path in paths for _ in read_rows(path)), expected=expected[name])
