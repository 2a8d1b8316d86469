"""`edgephi serve` in a process of its own, on a free port of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Self

from edgephi.base.errors import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi_bench.measure.subprocess_run import end_group, exit_reason
from edgephi_bench.serving.chat_client import ChatClient
from edgephi_bench.serving.plan import ServingPlan

_READY = re.compile(r"serving .* on http://([\d.]+):(\d+)\n")
_GRACE_SECONDS = 10.0
_ERRORS: dict[int, type[EdgeError]] = {error.exit_code: error for error in (ConfigError, ArtifactError, CapacityError)}
#: Settings of this machine's own server, by which the measured one must not be changed.
_FOREIGN = re.compile(r"EDGEPHI_|NOTIFY_SOCKET$|WATCHDOG_|LISTEN_")


def serve_command(plan: ServingPlan) -> tuple[str, ...]:
    """The command that is measured, with room for every client."""
    bench = plan.bench
    options = {
        "--port": 0,
        "--threads": bench.threads,
        "--kv-cache": bench.kv_cache,
        "--queue": max(16, *plan.clients),
        "--drain": 1,
    }
    words = [str(word) for option in options.items() for word in option]
    return (sys.executable, "-m", "edgephi", "serve", *words, "--", str(bench.model))


class ServerProcess:
    """A server that is ready. Use it in a `with` block.

    Raises:
        EdgeError: It ended before it was ready; the class and the message are those of the command.
    """

    def __init__(self, plan: ServingPlan) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        environment = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        self._process = subprocess.Popen(
            serve_command(plan),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=environment,
            process_group=0,  # Ctrl-C is this process's to handle
        )
        try:
            self._host, self._port = self._wait()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def client(self) -> ChatClient:
        """A new client."""
        return ChatClient(self._host, self._port)

    def check(self) -> None:
        """Give the reason of a server that has ended in the meantime.

        Raises:
            EdgeError: It has ended.
        """
        with suppress(subprocess.TimeoutExpired):  # its connections break a moment before it has ended
            self._process.wait(1.0)
            raise self._failure()

    def close(self) -> None:
        """End the process; one that does not end by itself is killed."""
        if self._process.poll() is None:
            end_group(self._process, signal.SIGTERM, lambda: self._process.wait(_GRACE_SECONDS))
        assert self._process.stdout is not None  # asked for at the start
        self._process.stdout.close()
        self._log.close()

    def _wait(self) -> tuple[str, int]:
        assert self._process.stdout is not None  # asked for at the start
        for line in self._process.stdout:
            if found := _READY.fullmatch(line):
                return found[1], int(found[2])
        self._process.wait()
        raise self._failure()

    def _failure(self) -> EdgeError:
        """By its exit code."""
        code = self._process.returncode
        self._log.seek(0)
        lines = [line for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return _ERRORS.get(code, EdgeError)(f"edgephi serve: {exit_reason(code, lines)}")
