"""A worker seen from outside: a process that holds a model and answers requests.

The protocol is in `workers/serve.py`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgephi.base.errors import EdgeError
from edgephi_bench.measure.subprocess_run import end_group

WORKERS = Path(__file__).with_name("workers")
_SERVE = WORKERS / "serve.py"
_GRACE_SECONDS = 10.0


class WorkerError(EdgeError):
    """A worker could not be started, or answered with an error."""


class Worker:
    """One process. Use it in a `with` block.

    Args:
        engine: Its engine file.
        options: What the engine is opened with.
        python: Interpreter of the environment it runs in; None for the present one, whose packages it then shares.

    Attributes:
        load_s: Time to open the engine, imports not included.
        start_s: From the start of the process until the engine is open.
        read_bytes: Fetched from the disk meanwhile.
        version: Of what the engine runs.

    Raises:
        WorkerError: The process cannot be started or the engine cannot be opened.
    """

    def __init__(self, engine: Path, options: Mapping[str, Any], python: str | None = None) -> None:
        # -I: this environment's PYTHONPATH must not leak into a peer's. -P: nothing is imported from beside serve.py.
        flags = ["-P"] if python is None else ["-I"]
        command = [python or sys.executable, *flags, str(_SERVE), str(engine), json.dumps(dict(options))]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        before = time.perf_counter()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                process_group=0,  # Ctrl-C is this process's to handle
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(f"{command[0]} cannot be run ({error.strerror})") from error
        try:
            opened = self._answer()
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - before
        self.load_s = float(opened["load_s"])
        self.read_bytes = int(opened["read_bytes"])
        self.version = str(opened["version"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, do: str, **request: Any) -> Any:
        """Send one request and wait for its result.

        Raises:
            WorkerError: The worker answered with an error, or ended.
        """
        assert self._process.stdin is not None  # asked for at the start
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; reading says why
        return self._answer()["result"]

    @property
    def peak_bytes(self) -> int:
        """Largest resident size so far."""
        return int(self.ask("memory"))

    def close(self) -> None:
        """End the process; one that does not end by itself is killed."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        end_group(self._process, signal.SIGTERM, lambda: self._process.wait(_GRACE_SECONDS))
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # asked for at the start
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        """Why it ended: the last line it printed, which of a traceback is the exception."""
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        if code == -signal.SIGKILL:
            return "killed by SIGKILL; the system may have run out of memory"
        return lines[-1] if lines else f"ended with exit code {code} without a message"
