"""The mistakes that tests must find, read from `lists/*.toml` and checked against a source tree."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

LISTS = Path(__file__).parent / "lists"


class ListError(Exception):
    """A list or one of its entries cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One mistake.

    Attributes:
        name: Unique among all lists.
        file: Path from the root of the source tree.
        old: Text that is exactly once in the file.
        new: What replaces it.
        why: What a user would notice.
        tests: Test files that must find it, or `file::test`, the quickest first.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    def changed(self, root: Path) -> str:
        """The file's text with the mistake in it.

        Raises:
            ListError: The file is gone, the old text is not in it exactly once, the new one changes nothing, or makes
                what is no Python.
        """
        path = root / self.file
        if not path.is_file():
            raise ListError(f"{self.name}: there is no file {self.file}; correct the entry")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ListError(f"{self.name}: {self.file} has the old text {count} times, not once; correct the entry")
        if (changed := text.replace(self.old, self.new)) == text:
            raise ListError(f"{self.name}: the new text is the old one; correct the entry")
        if path.suffix == ".py":
            try:
                ast.parse(changed)
            except SyntaxError as error:
                raise ListError(f"{self.name}: with the new text {self.file} is no Python ({error})") from None
        return changed

    def check_tests(self, root: Path) -> None:
        """Refuse tests that are not there.

        Raises:
            ListError: There is one.
        """
        if not self.tests:
            raise ListError(f"{self.name}: no test is named; name the file that must find it")
        for test in self.tests:
            name, _, function = test.partition("::")
            path = root / name
            if not path.is_file():
                raise ListError(f"{self.name}: there is no test file {name}; correct the entry")
            if function and f"def {function}(" not in path.read_text(encoding="utf-8"):
                raise ListError(f"{self.name}: {name} has no {function}; correct the entry")


def read_lists(folder: Path = LISTS) -> list[Mutation]:
    """All mutations, list by list.

    Raises:
        ListError: A list is no TOML, an entry lacks a key or has an unknown one, or two have one name.
    """
    found: list[Mutation] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ListError(f"{path.name}: {error}") from None
        if set(content) != {"mutation"}:
            raise ListError(f"{path.name}: write [[mutation]] tables and nothing else")
        found += [_mutation(entry, path.name) for entry in content["mutation"]]
    names = [mutation.name for mutation in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ListError(f"two mutations are named {twice[0]}; give each its own name")
    return found


def _mutation(entry: dict[str, object], where: str) -> Mutation:
    wanted = {field.name for field in fields(Mutation)}
    if wrong := sorted(wanted ^ set(entry)):
        raise ListError(f"{where}: {entry.get('name', 'an entry')} has a wrong or missing key {wrong[0]!r}")
    tests = entry.pop("tests")
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    if not isinstance(tests, list) or len(texts) < len(entry) or not all(isinstance(test, str) for test in tests):
        raise ListError(f"{where}: {entry.get('name', 'an entry')}: write texts, and a list of texts for `tests`")
    return Mutation(**texts, tests=tuple(tests))
