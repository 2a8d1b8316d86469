"""The order of the house: sizes, docstrings, and what a host package may import of the runtime."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "edgephi": ROOT / "runtime/edgephi",
    "edgephi_agent": ROOT / "runtime/edgephi_agent",
    "edgephi_serve": ROOT / "runtime/edgephi_serve",
    "edgephi_export": ROOT / "export/edgephi_export",
    "edgephi_pack": ROOT / "export/edgephi_pack",
    "edgephi_quantize": ROOT / "quantize/edgephi_quantize",
    "edgephi_bench": ROOT / "benchmarks/edgephi_bench",
    "edgephi_evaluate": ROOT / "benchmarks/edgephi_evaluate",
    "edgephi_batch": ROOT / "batch/edgephi_batch",
    "edgephi_nano": ROOT / "nano/edgephi_nano",
}
#: What nano's training and its accuracy take from the runtime: the audio and images that the model was made to expect.
NANO_MAY_IMPORT = {
    "edgephi",
    "edgephi.audio.decoding",
    "edgephi.base.step",
    "edgephi.bundle.manifest",
    "edgephi.images.crops",
}
MAX_LINES = 400
MAX_FUNCTION_LINES = 70
P95_FUNCTION_LINES = 30
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _parsed(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What a function does itself: not what the functions and classes defined inside it do."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def _public_functions(node: ast.Module | ast.ClassDef) -> Iterator[Function]:
    """Those that can be called from another file; a command's docstring is its help text, so commands are left out."""
    for child in node.body:
        if getattr(child, "name", "_").startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from _public_functions(child)
        elif isinstance(child, Function) and not any(".command(" in ast.unparse(one) for one in child.decorator_list):
            yield child


def _raised(function: Function) -> set[str]:
    """Names of the exceptions that its own `raise` statements make; AssertionError is for bugs, not for callers."""
    calls = [node.exc for node in _own(function) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    made = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
    return {name for name in made if name[:1].isupper()} - {"AssertionError"}


@pytest.mark.parametrize("folder", [*PACKAGES.values(), ROOT / "tests"], ids=lambda folder: folder.name)
def test_no_file_is_too_long_to_read(folder: Path):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    assert {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > MAX_LINES} == {}


@pytest.mark.parametrize("folder", [*PACKAGES.values(), ROOT / "tests"], ids=lambda folder: folder.name)
def test_functions_are_short(folder: Path):
    sizes = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in _parsed(folder)
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }
    assert {where: lines for where, lines in sizes.items() if lines > MAX_FUNCTION_LINES} == {}
    assert sorted(sizes.values())[len(sizes) * 95 // 100] <= P95_FUNCTION_LINES


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "edgephi_nano"])
def test_a_public_function_names_the_errors_that_it_raises(package: str):
    unnamed = {
        f"{path}:{function.lineno} {function.name}": sorted(missing)
        for path, tree in _parsed(PACKAGES[package])
        for function in _public_functions(tree)
        if (missing := {name for name in _raised(function) if name not in (ast.get_docstring(function) or "")})
    }
    assert unnamed == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_rooms_init_holds_no_logic(package: str):
    """Names, their addresses and re-exports; two packages also load their names on first use (PEP 562)."""
    lazy = {
        "runtime/edgephi/__init__.py": {"__getattr__", "__dir__"},
        "export/edgephi_export/__init__.py": {"__getattr__"},
    }
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    logic = [
        f"{path}:{node.lineno}"
        for path, tree in _parsed(PACKAGES[package])
        for node in tree.body
        if path.endswith("/__init__.py") and not isinstance(node, plain)
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        if getattr(node, "name", None) not in lazy.get(path, set())
    ]
    assert logic == []


def test_nano_takes_only_media_and_the_model_from_the_runtime():
    """Nano lies outside the packages that `make lint` reads."""
    imported = {
        node.module
        for _, tree in _parsed(PACKAGES["edgephi_nano"])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "edgephi"
    }
    assert imported == NANO_MAY_IMPORT


def test_an_import_of_the_runtimes_inside_breaks_the_contract(tmp_path: Path):
    """Otherwise `make lint` would prove nothing."""
    files = {
        "edgephi_export/graphs/layers.py": "what the exporter may import of the runtime",
        "edgephi_quantize/search.py": "what quantize may import of the runtime",
        "edgephi_bench/report/tables.py": "what the benchmarks may import of the runtime",
    }
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("edgephi", "edgephi_export", "edgephi_quantize", "edgephi_bench"):
        shutil.copytree(PACKAGES[name], tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in files:
        with (tmp_path / file).open("a", encoding="utf-8") as stream:
            stream.write("\nfrom edgephi.decoder.decoder import Decoder\n")
    linter = shutil.which("lint-imports", path=Path(sys.executable).parent)
    assert linter is not None, "import-linter is a dependency of the tests"
    command = [linter, "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    broken = {name for name in files.values() if f"{name} BROKEN" in done.stdout}
    assert (done.returncode, broken) == (1, set(files.values())), done.stdout + done.stderr
    assert "3 broken" in done.stdout
