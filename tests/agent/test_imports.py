"""What the agent imports beside its own floors (contracts in pyproject.toml): a device needs little for it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "runtime/edgephi_agent"


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


def test_the_agent_imports_the_standard_library_tuf_and_itself():
    found = {name.partition(".")[0] for path in PACKAGE.rglob("*.py") for name in _imported(path)}
    assert found - sys.stdlib_module_names == {"edgephi_agent", "tuf"}


def test_the_agents_network_is_none():
    """`tuf` brings urllib3; nothing of the agent opens a socket or imports what does."""
    found = {name.partition(".")[0] for path in PACKAGE.rglob("*.py") for name in _imported(path)}
    assert not found & {"socket", "ssl", "http", "urllib", "urllib3", "requests", "asyncio", "socketserver", "ftplib"}


def test_the_agent_and_what_it_requires_are_below_6_mb():
    """Without what `cryptography` would add: signatures are also checked without it."""
    own = sum(path.stat().st_size for path in PACKAGE.rglob("*") if path.suffix != ".pyc" and path.is_file())
    required = sum(
        Path(str(file.locate())).stat().st_size
        for name in ("tuf", "securesystemslib", "urllib3")
        for file in files(name) or ()
        if file.suffix != ".pyc"
    )
    assert own + required < 6_000_000
