"""transformers.js as a `Runtime`: in Node, a process that transformersjs.mjs is the program of."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgephi.base.errors import ArtifactError, EdgeError
from edgephi_export.options import LayoutName
from edgephi_export.runtimes.runtime import RuntimeReply, RuntimeRequest, one_line

_PROGRAM = Path(__file__).with_suffix(".mjs")
_HOW_TO = "run `npm install @huggingface/transformers` and start this command in the same directory"


class TransformersJsRuntime:
    """See `Runtime`."""

    layout: LayoutName = "transformersjs"

    def version(self) -> str:
        """The version that is installed.

        Raises:
            EdgeError: Node is not, or the library is not.
        """
        with _Node() as node:
            return node.version

    def load(self, folder: Path) -> LoadedTransformersJs:
        """Load a folder.

        Raises:
            ArtifactError: The library refuses it.
            EdgeError: It is not installed.
        """
        return LoadedTransformersJs(folder)


class LoadedTransformersJs:
    """A folder that transformers.js has loaded.

    Args:
        folder: The folder.

    Raises:
        ArtifactError: The library refuses it.
        EdgeError: It is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._node = _Node()
        try:
            self._node.ask(folder=str(folder.resolve()))
        except _NodeError as error:
            self._node.close()
            raise ArtifactError(f"{folder}: transformers.js does not load it ({one_line(error)})") from error
        except BaseException:
            self._node.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.close()

    def reply(self, request: RuntimeRequest) -> RuntimeReply:
        """Answer greedily.

        Raises:
            ArtifactError: The library fails.
        """
        try:
            answer = self._node.ask(ids=request.token_ids, maxNewTokens=request.max_new_tokens)
        except _NodeError as error:
            raise ArtifactError(f"transformers.js cannot answer ({one_line(error)})") from error
        logits = np.frombuffer(base64.b64decode(answer["logits"]), "<f4")
        return RuntimeReply(logits=logits, token_ids=tuple(answer["ids"]))


class _NodeError(Exception):
    """The process answered with an error, or ended."""


class _Node:
    """The process. `version` is the library's.

    Raises:
        EdgeError: Node or the library is not installed.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                ["node", str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                encoding="utf-8",
            )  # fmt: skip
        except OSError as error:
            self._errors.close()
            raise EdgeError(f"node cannot be run ({error.strerror}); install Node.js 20 or newer") from error
        try:
            self.version = str(self._answer()["version"])
        except BaseException as error:
            self.close()
            if isinstance(error, _NodeError):
                raise EdgeError(f"transformers.js is not found ({error}); {_HOW_TO}") from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one line and wait for the answer.

        Raises:
            _NodeError: It is an error, or the process ended.
        """
        assert self._process.stdin is not None  # asked for at the start
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; reading says why
        return self._answer()

    def close(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # asked for at the start
        line = self._process.stdout.readline()
        if not line:
            raise _NodeError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _NodeError(answer["error"])
        return answer

    def _last_words(self) -> str:
        """Why it ended: the line of Node's report that names the error."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "killed by SIGKILL; the system may have run out of memory"
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        named = [line for line in lines if "Error: " in line]
        return (named or [f"ended with exit code {code}"])[0]
