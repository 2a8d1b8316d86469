"""A newcomer follows the documentation: every file that it names is there."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgephi

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
#: Where the short names of docs/architecture.md begin.
_STARTS = ("", "runtime/edgephi", "runtime/edgephi_serve", "export/edgephi_export")
#: Options of other programs: rsync, pip, and those that make and measure nano.
_FOREIGN_OPTIONS = (
    "--count", "--inplace", "--network", "--no-deps", "--now", "--only-binary", "--rounds", "--target", "--volume",
)  # fmt: skip


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
    commands = sorted((ROOT / "export/edgephi_pack/commands").glob("*.py"))
    sources = (ROOT / "docs/cli.md", ROOT / "runtime/edgephi_agent/cli.py", *commands)
    own = {one for source in sources for one in option.findall(source.read_text(encoding="utf-8"))}
    known = own | {*_FOREIGN_OPTIONS}
    unknown = {page.name: set(option.findall(page.read_text(encoding="utf-8"))) - known for page in PAGES}
    assert {page: names for page, names in unknown.items() if names} == {}


@pytest.mark.parametrize("name", ["cli", "api"])
def test_the_generated_pages_are_those_of_the_code_whatever_the_terminal_and_the_settings(name: str):
    """`make docs` writes them. In a process of its own: click keeps the help option of a command's first use."""
    settings = {"COLUMNS": "40", "EDGEPHI_THREADS": "3", "EDGEPHI_LOG": "info", "FORCE_COLOR": "1", "TERM": "xterm"}
    script = f"import runpy; print(runpy.run_path('docs/generate.py')['{name}_page'](), end='')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode() == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


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
