"""A newcomer follows the documentation: every file that it names is there."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import edgephi

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
#: Where the short names of docs/architecture.md begin.
_STARTS = ("", "runtime/edgephi", "export/edgephi_export")
#: Options of other programs, here of rsync.
_FOREIGN_OPTIONS = ("--inplace",)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_of_the_architecture_page_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.(?:py|toml))`", text))
    assert len(named) > 30
    assert [name for name in named if not any((ROOT / start / name).is_file() for start in _STARTS)] == []


def test_every_option_of_a_page_is_one_of_the_commands():
    """In the spelling that help shows."""
    option = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
    known = {*option.findall((ROOT / "docs" / "cli.md").read_text(encoding="utf-8")), *_FOREIGN_OPTIONS}
    unknown = {page.name: set(option.findall(page.read_text(encoding="utf-8"))) - known for page in PAGES}
    assert {page: names for page, names in unknown.items() if names} == {}


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli", "api"])
def test_the_generated_pages_are_those_of_the_code(name: str):
    """`make docs` writes them."""
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert getattr(_generator(), f"{name}_page")() == page


@pytest.mark.parametrize("name", ["cli", "api"])
def test_the_generated_pages_depend_on_no_terminal_and_no_setting(name: str, monkeypatch: pytest.MonkeyPatch):
    page = getattr(_generator(), f"{name}_page")()
    settings = {"COLUMNS": "40", "EDGEPHI_THREADS": "3", "EDGEPHI_LOG": "info", "FORCE_COLOR": "1", "TERM": "xterm"}
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    assert getattr(_generator(), f"{name}_page")() == page


def test_the_page_of_the_library_has_every_field_and_method():
    """Each is described by its class's docstring, or under a heading of its own."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##? |^### |\Z)", page, re.MULTILINE | re.DOTALL))
    assert sections.keys() == set(edgephi.__all__)
    for name in ("Model", "AsyncModel", "ModelOptions", "Request", "SamplingOptions", "Reply", "Transcript", "Segment"):
        kind = getattr(edgephi, name)
        fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
        methods = {method for method in dir(kind) if not method.startswith("_")} - fields
        missing = {field for field in fields if f"- `{field}`: " not in sections[name]}
        missing |= {method for method in methods if f"#### {name}.{method}\n" not in sections[name]}
        assert {one for one in missing if not one.startswith("_")} == set(), name
