"""The web page: the files of `page/`, under a policy that lets nothing else in."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from edgephi_serve.connections.bodies import header
from edgephi_serve.connections.exchange import Receive, Scope, Send
from edgephi_serve.errors import ApiError

_KINDS = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml", "json": "application/json", "png": "image/png", "ico": "image/x-icon",
    "webmanifest": "application/manifest+json",
}  # fmt: skip
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(self)"),
    (b"cache-control", b"no-cache"),
]


@cache
def _file(name: str) -> tuple[bytes, str]:
    """A file's content and its tag.

    Raises:
        ApiError: No such file.
    """
    kind = name.rpartition(".")[2]
    found = resources.files("edgephi_serve").joinpath("page", name)
    if "/" in name or name.startswith(".") or kind not in _KINDS or not found.is_file():
        raise ApiError(404, "invalid_request_error", "unknown_url", "The page has no such file.")
    content = found.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class PageFiles:
    """Serves one file, or that which the address names.

    Every file is asked for again with its tag, so that no old page outlives an upgrade.

    Args:
        name: The file; None for the address's last part.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answer."""
        name = self._name or scope["path_params"]["name"]
        content, tag = _file(name)
        headers = [*_HEADERS, (b"etag", tag.encode())]
        if header(scope, b"if-none-match") == tag:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        kind = _KINDS[name.rpartition(".")[2]].encode()
        own = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
        body = b"" if scope["method"] == "HEAD" else content
        await send({"type": "http.response.start", "status": 200, "headers": [*own, *headers]})
        await send({"type": "http.response.body", "body": body, "more_body": False})
