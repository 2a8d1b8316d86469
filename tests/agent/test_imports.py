"""What the agent may import: a release cannot change what judges it, and a device needs little for it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "runtime/edgephi_agent"
OTHERS = [*(PACKAGE.parent / name for name in ("edgephi", "edgephi_serve"))]
#: From above: a module imports only those below its own line.
FLOORS = [
    {"__main__"}, {"cli"}, {"audit", "bundle"}, {"trust", "watch", "device"}, {"lifecycle"}, {"install"}, {"state"},
    {"index", "disk"}, {"json_values", "tar_entries"}, {"errors"},
]  # fmt: skip


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


def test_no_package_of_a_device_imports_the_agent():
    found = {path for folder in OTHERS for path in folder.rglob("*.py") if "edgephi_agent" in {*_tops(path)}}
    assert found == set()


def _tops(path: Path) -> Iterator[str]:
    yield from (name.partition(".")[0] for name in _imported(path))


def test_every_module_has_a_floor_and_imports_only_lower_ones():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    assert floor.keys() | {"__init__"} == {path.stem for path in PACKAGE.glob("*.py")}
    for path in PACKAGE.glob("*.py"):
        for name in _imported(path):
            if name.startswith("edgephi_agent."):
                assert floor[name.partition(".")[2]] > floor[path.stem], f"{path.name} imports {name}"


def test_the_agents_network_is_none():
    """`tuf` brings urllib3; nothing of the agent opens a socket or imports what does."""
    found = {name.partition(".")[0] for path in PACKAGE.rglob("*.py") for name in _imported(path)}
    assert not found & {"socket", "ssl", "http", "urllib", "urllib3", "requests", "asyncio", "socketserver", "ftplib"}
