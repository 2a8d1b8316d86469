"""A model hub on this machine, for what `edgephi export` asks of the real one.

It answers what huggingface_hub's download of a file asks: HEAD and GET of `/ID/resolve/REVISION/FILE` with the
commit, the entity tag and the size; weight files redirect to a storage address of another host name and can be read
from the middle. Which files it was asked for is recorded; what else a version of the library may ask is not found.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """One request: what for, and from which byte if not the first."""

    method: str
    file: str
    range: str | None
    authorized: bool


@dataclass(slots=True, kw_only=True)
class Repository:
    """One model: the folder of each commit, the commit of each branch or tag, and the tokens that may read it."""

    commits: dict[str, Path]
    branches: dict[str, str]
    gated: bool = False
    private: bool = False
    readers: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class FakeHub:
    """The server; runs inside a `with` block, answers from threads of its own."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[HubRequest] = []
        #: Tokens of people who have an account.
        self.tokens: set[str] = set()
        self._drop_after, self._drops = 0, 0
        #: Set when a broken-off answer has gone out.
        self.dropped = threading.Event()
        self._held: threading.Event | None = None
        #: Answers every request with this status.
        self.broken: int | None = None
        #: The licence that listings state. None: there is no listing, as on some mirrors.
        self.listed_licence: str | None = None
        self._stored: dict[str, Path] = {}
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The hub's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, repo_id: str, folder: Path, commit: str = COMMIT) -> Repository:
        """A public repository whose main branch holds `folder`."""
        self.repositories[repo_id] = Repository(commits={commit: folder}, branches={"main": commit})
        return self.repositories[repo_id]

    def stop(self) -> None:
        """Closes the port; a second call changes nothing."""
        if self._held is not None:
            self._held.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def break_off(self, after: int, times: int, *, hold: bool = False) -> None:
        """The next `times` answers of the storage end after so many bytes.

        The connection closes, or with `hold` stays open and silent for as long as the hub runs.
        """
        self._drop_after, self._drops = after, times
        self._held = threading.Event() if hold else None

    def broke_off(self) -> None:
        """One answer has ended early."""
        self.dropped.set()
        if self._held is not None:
            self._held.wait()

    def cut(self, path: str, size: int) -> int | None:
        """Where an answer of `size` bytes breaks off; None for a whole one."""
        if not path.startswith("/storage/") or self._drops == 0 or size <= self._drop_after:
            return None
        self._drops -= 1
        return self._drop_after

    def files(self, method: str = "GET") -> list[str]:
        """Names asked for so far."""
        return [asked.file for asked in self.asked if asked.method == method]

    def answer(self, method: str, path: str, range_: str | None, token: str | None) -> _Answer:
        """The hub's answer to one request."""
        if self.broken is not None:
            return _Answer(self.broken, body=b"out of order")
        if path.startswith("/storage/"):
            return self._from_storage(method, path.removeprefix("/storage/"), range_, token)
        if path.startswith("/api/models/") and self.listed_licence is not None:
            return self._listing(path.removeprefix("/api/models/").partition("?")[0], token)
        repo_id, found, rest = path.lstrip("/").partition("/resolve/")
        if not found:
            return _Answer(404)
        revision, _, name = rest.partition("/")
        self.asked.append(HubRequest(method=method, file=unquote(name), range=range_, authorized=token is not None))
        return self._resolve(repo_id, unquote(revision), unquote(name), token)

    def _resolve(self, repo_id: str, revision: str, name: str, token: str | None) -> _Answer:
        repository = self.repositories.get(repo_id)
        refusal = self._refusal(repository, token)
        if repository is None or refusal is not None:
            return refusal or _Answer(404)
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return _Answer(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"})
        path = repository.commits[commit] / name
        if not path.is_file():
            return _Answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        headers = _named(path) | {"X-Repo-Commit": commit, "ETag": f'"{digest[:40]}"'}
        if path.suffix not in (".safetensors", ".bin"):
            return _Answer(200, headers, content)
        self._stored[digest] = path
        headers |= {
            "X-Linked-ETag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{self.url.replace('127.0.0.1', 'localhost')}/storage/{digest}",
        }
        return _Answer(302, headers)

    def _listing(self, path: str, token: str | None) -> _Answer:
        """Names and sizes of a commit's files, and what its card says."""
        repo_id, _, revision = path.partition("/revision/")
        repository = self.repositories.get(repo_id)
        refusal = self._refusal(repository, token)
        if repository is None or refusal is not None:
            return refusal or _Answer(404)
        folder = repository.commits[repository.branches.get(revision, revision)]
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        siblings = [{"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size} for file in files]
        facts = {"id": repo_id, "siblings": siblings, "tags": [f"license:{self.listed_licence}"]}
        return _Answer(200, {"Content-Type": "application/json"}, json.dumps(facts).encode())

    def _refusal(self, repository: Repository | None, token: str | None) -> _Answer | None:
        if token is not None and token not in self.tokens:
            return _Answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        if repository is None or (repository.private and token not in repository.readers):
            # The hub does not tell strangers whether a repository is private or absent.
            if token is None:
                return _Answer(401, {"X-Error-Message": "Invalid username or password."})
            return _Answer(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if repository.gated and token not in repository.readers:
            return _Answer(401 if token is None else 403, {"X-Error-Code": "GatedRepo"})
        return None

    def _from_storage(self, method: str, digest: str, range_: str | None, token: str | None) -> _Answer:
        path = self._stored[digest]
        content = path.read_bytes()
        self.asked.append(HubRequest(method=method, file=path.name, range=range_, authorized=token is not None))
        if range_ is None:
            return _Answer(200, _named(path), content)
        start = int(range_.removeprefix("bytes=").removesuffix("-"))
        place = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return _Answer(206, _named(path) | place, content[start:])


def _named(path: Path) -> dict[str, str]:
    return {"Content-Disposition": f'inline; filename="{path.name}";'}


class _Handler(BaseHTTPRequestHandler):
    owner: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def do_GET(self) -> None:
        self._send(with_body=True)

    def _send(self, *, with_body: bool) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        answer = self.owner.answer(self.command, self.path, self.headers.get("Range"), token)
        body = answer.body
        if answer.status >= 400 and not body:
            body = json.dumps({"error": answer.headers.get("X-Error-Message", "no")}).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        cut = self.owner.cut(self.path, len(body))
        with suppress(ConnectionError):
            self.wfile.write(body[:cut])
        if cut is not None:
            self.owner.broke_off()
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests need no log."""
