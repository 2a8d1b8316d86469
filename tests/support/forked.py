"""Short-lived processes that start warm: forked from one that has imported the heavy libraries.

A test that needs a process of its own for its environment or exit code, and needs many, uses
this; `shell.spawn` is what a user's shell would do.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

#: Imported once. None of them may read an environment variable that a test sets.
_WARM = [
    "numpy",
    "requests",
    "tokenizers",
    "edgephi.cli.main",
    "edgephi_export.commands.export",
    "edgephi_export.exporter",
]


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_WARM)
    return context


def run_forked(code: str, arguments: list[str], environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Run `python -c CODE ARGUMENTS` with exactly that environment."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        process = _context().Process(target=_child, args=(code, arguments, dict(environment), folder))
        process.start()
        process.join(120)
        process.kill()
        process.join()
        exit_code = process.exitcode
        assert exit_code is not None
        process.close()
        stdout, stderr = ((folder / stream).read_text(encoding="utf-8") for stream in ("stdout", "stderr"))
    return CompletedProcess([code, *arguments], exit_code, stdout, stderr)


def _child(code: str, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
    for descriptor, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
