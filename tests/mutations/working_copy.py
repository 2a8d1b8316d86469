"""A copy of the source tree in which one mistake at a time is made, and tests are run.

Tests run in the caller's environment, but its own packages are imported from the copy: they come first on PYTHONPATH,
before an editable installation's. Compiled files are checked by their content, since a mistake may leave a file's size
and second of change as they were.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutations.listing import Mutation

#: Folders of the tree whose packages are imported.
SOURCES = ("runtime", "export", "quantize", "benchmarks", "batch")


class CopyError(Exception):
    """There is no copy to run tests in; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """One run of pytest.

    Attributes:
        code: Its exit code; None where it was ended after its time.
        failed: The first test that failed or could not be set up.
        output: What it wrote.
        seconds: That it took.
    """

    __test__ = False

    code: int | None
    failed: str | None
    output: str
    seconds: float


class WorkingCopy:
    """The tracked files of a tree as they are now, in a folder of their own.

    Args:
        tree: Under git.
        folder: To be made; also holds what the tests write.

    Raises:
        CopyError: The tree is not under git, or its packages would not be imported from the copy.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self.root = folder / "tree"
        _copy(tree, self.root)
        temporary = folder / "tmp"
        temporary.mkdir()
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.root / name) for name in SOURCES),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(temporary),
        }
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._is_ended = False
        folders = [name for name in (*SOURCES, "tests") if (self.root / name).is_dir()]
        self._run(["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", *folders], 600)
        self._check_imports()

    @contextmanager
    def with_mistake(self, mutation: Mutation) -> Iterator[None]:
        """Hold the mistake in the copy for the block.

        Raises:
            ListError: As `Mutation.changed`.
        """
        changed = mutation.changed(self.root)
        path = self.root / mutation.file
        before = path.read_bytes()
        path.write_text(changed, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(before)

    def test(self, tests: tuple[str, ...], timeout_s: float) -> TestRun:
        """Run tests up to the first failure."""
        options = ["-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
        before = time.monotonic()
        code, output = self._run([*options, *tests], timeout_s)
        failed = next((line.split()[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))), None)
        return TestRun(code=code, failed=failed, output=output, seconds=time.monotonic() - before)

    def end(self) -> None:
        """End what runs in the copy, from another thread; nothing can be run after that."""
        with self._lock:
            self._is_ended = True
            for process in self._processes:
                _kill(process)

    def _run(self, arguments: list[str], timeout_s: float) -> tuple[int | None, str]:
        """Exit code and output of Python in the copy; code None where it took too long."""
        with self._lock:
            if self._is_ended:
                raise CopyError("the run was ended")
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.root, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self._processes.add(process)
        try:
            output, _ = process.communicate(timeout=timeout_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            _kill(process)
            return None, process.communicate()[0]
        finally:
            _kill(process)
            with self._lock:
                self._processes.discard(process)

    def _check_imports(self) -> None:
        packages = sorted(path.parent.name for name in SOURCES for path in (self.root / name).glob("*/__init__.py"))
        code = f"import importlib\nfor name in {packages}: print(importlib.import_module(name).__file__)"
        status, output = self._run(["-c", code], 120)
        places = output.split()
        if status or len(places) != len(packages) or not all(place.startswith(f"{self.root}/") for place in places):
            raise CopyError(f"the copy's packages are not those that Python imports:\n{output}")


def _copy(tree: Path, root: Path) -> None:
    command = ["git", "-C", str(tree), "ls-files", "-z"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        raise CopyError(f"{tree} is no git checkout, so its files are not known; clone the repository") from None
    for name in filter(None, names):
        if (tree / name).is_file():  # one that was deleted is tracked until that is committed
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, root / name)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
