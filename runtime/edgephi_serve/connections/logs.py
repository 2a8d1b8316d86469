"""Log lines of requests: counts, seconds and words of ours, never text, names of files or arguments of exceptions."""

from __future__ import annotations

import json
import sys
import time
import traceback

from edgephi_serve.connections.exchange import Exchange
from edgephi_serve.settings import LogFormat


class RequestLog:
    """Writes to stderr.

    Args:
        form: Of the lines.
        has_access: Whether each request gets a line; failures of the server always do.
    """

    def __init__(self, form: LogFormat, *, has_access: bool) -> None:
        self._form = form
        self._has_access = has_access

    def note(self, exchange: Exchange) -> None:
        """A request has ended."""
        if not self._has_access:
            return
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "id": exchange.id,
            "key": exchange.key,
            "endpoint": exchange.endpoint,
            "status": exchange.status,
            "bytes": exchange.received,
            "seconds": round(time.monotonic() - exchange.began_s, 4),
            **{name: round(value, 4) for name, value in exchange.facts.items()},
        }
        if exchange.reason:
            line["reason"] = exchange.reason
        self._write(line)

    def failed(self, exchange: Exchange, error: BaseException) -> None:
        """The server failed on a request: where, without the error's text."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-6:]]
        self._write({"id": exchange.id, "failure": type(error).__name__, "at": " ".join(where)})

    def _write(self, line: dict[str, object]) -> None:
        text = json.dumps(line) if self._form == "json" else " ".join(f"{key}={value}" for key, value in line.items())
        print(text, file=sys.stderr, flush=True)
