"""Holds one engine and answers requests: `python serve.py ENGINE_FILE OPTIONS_AS_JSON`.

    -> {"load_s": 1.9, "read_bytes": 0, "version": "1.2"}      once, when the engine is open
    <- {"do": "prefill", "tokens": 512}
    -> {"result": [8.7]}            or {"error": "what went wrong"}
    <- {"do": "memory"}             the process itself: largest resident size so far
    -> {"result": 2700000000}

One JSON object per line. The end of the input ends the program. What libraries print on stdout goes to stderr.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time

TYPE_CHECKING = False  # an old interpreter of a peer's environment needs no more than this
if TYPE_CHECKING:
    from typing import Any, TextIO


def main() -> None:
    """Open the engine and answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module = runpy.run_path(sys.argv[1])
    options = json.loads(sys.argv[2])
    try:
        module["prepare"]()
        read_before, before = _read_bytes(), time.perf_counter()
        engine = module["open_engine"](options)
        load_s = time.perf_counter() - before
    except Exception as error:
        _answer(answers, {"error": _words(error)})
        return
    _answer(answers, {"load_s": load_s, "read_bytes": _read_bytes() - read_before, "version": engine.version})
    for line in sys.stdin:
        _answer(answers, _serve(engine, json.loads(line)))


def _serve(engine: Any, request: dict[str, Any]) -> dict[str, Any]:
    name = request.pop("do")
    try:
        result = _peak_bytes() if name == "memory" else getattr(engine, name)(**request)
    except Exception as error:
        return {"error": _words(error)}
    return {"result": result}


def _answer(stream: TextIO, content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


def _words(error: Exception) -> str:
    """The first line; the class as well where the error is not one that speaks for itself."""
    text = next(iter(str(error).strip().splitlines()), "")
    return text if hasattr(error, "exit_code") else f"{type(error).__name__}: {text}"


def _peak_bytes() -> int:
    """Largest resident size of this program. `ru_maxrss` would count the program that started it as well."""
    try:
        return _number("/proc/self/status", "VmHWM:") * 1024
    except (OSError, LookupError):
        import resource  # noqa: PLC0415 - not on every system

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _read_bytes() -> int:
    """Fetched from the disk by this process so far; 0 where the system does not report it."""
    try:
        return _number("/proc/self/io", "read_bytes:")
    except (OSError, LookupError):
        return 0


def _number(path: str, key: str) -> int:
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1])
    raise LookupError(key)


if __name__ == "__main__":
    main()
