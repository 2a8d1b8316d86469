"""The options of a server; every range is checked before a model is loaded."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_finite, is_whole

MIB = 1 << 20
#: Of a server, of an app that is a page, or of one that opens its pages from the disk.
_ORIGIN = re.compile(r"(?:[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-\[\]:]+|file://)\Z")
_HOST = re.compile(r"[A-Za-z0-9.\-_]+\Z|\[[0-9a-fA-F:.]+\]\Z")

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server can be reached.

    Attributes:
        host: A name or an address of this machine.
        port: 0 for one that is free.
        uds: Path of a Unix socket, instead of the two above.
        tls_cert: PEM file of the certificate chain; None for plain HTTP.
        tls_key: PEM file of its key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; use 1 to 65535, or 0 for one that is free")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("TLS needs a certificate and its key; give --tls-cert and --tls-key")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise ConfigError(f"{path}: no such file; give the PEM file of the certificate or key")

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can reach it."""
        if self.uds is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: Names in a Host header that are answered, besides those of loopback and the address listened on.
        origins: Web pages of other servers that may ask, such as `https://chat.example.org`, and apps that are pages,
            such as `app://obsidian.md`.
        key_file: Holds the keys, one a line; see connections/keys.py.
        key: One more key, from the environment.
        no_auth: Serve other machines without a key.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    key_file: Path | None = None
    key: str | None = None
    no_auth: bool = False

    def __post_init__(self) -> None:
        for host in self.hosts:
            if not _HOST.match(host):
                raise ConfigError(f"--allow-host is {host!r:.80}; give a name or an address without a port")
        for origin in self.origins:
            if not _ORIGIN.match(origin):
                raise ConfigError(f"--cors-origin is {origin!r:.80}; give a whole origin, such as https://example.org")
        if self.key is not None and not 8 <= len(self.key) <= 512:
            raise ConfigError(f"EDGEPHI_API_KEY has {len(self.key)} characters; use 8 to 512")

    @property
    def has_keys(self) -> bool:
        """Whether requests need a key."""
        return self.key is not None or self.key_file is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what clients may take of the machine.

    Attributes:
        connections: Open at once.
        queue: Requests that wait for the one that runs.
        body_bytes: Of a JSON request.
        upload_bytes: Of a recording.
        uploads: Recordings that are sent or read at once.
        realtime: Sessions of live captions at once; 0 for none.
        frame_bytes: Of a message in a session.
        head_bytes: Of a request's line and headers.
        head_s: From the connection, or the last answer's end, to the end of the headers of a request that was begun.
        body_s: For a body, and a second more for each MiB.
        keep_alive_s: Of a connection without a request.
        images: In one request.
        messages: In one request.
        tools: In one request.
        schema_bytes: Of a schema, and of each tool.
        prepared_bytes: Decoded media of all requests that wait; those of further ones are decoded again in their turn.
    """

    connections: int = 64
    queue: int = 16
    body_bytes: int = 32 * MIB
    upload_bytes: int = 256 * MIB
    uploads: int = 4
    realtime: int = 2
    frame_bytes: int = MIB
    head_bytes: int = 16 * 1024
    head_s: float = 10.0
    body_s: float = 30.0
    keep_alive_s: int = 30
    images: int = 16
    messages: int = 1024
    tools: int = 128
    schema_bytes: int = 64 * 1024
    prepared_bytes: int = 256 * MIB

    def __post_init__(self) -> None:
        for known in fields(self):
            value = getattr(self, known.name)
            least = 0 if known.name in ("queue", "realtime") else 1
            if not is_finite(value) or value < least:
                raise ConfigError(f"{known.name} is {value!r}; use {least} or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things may take, in seconds.

    Attributes:
        request_s: A reply's own turn; what is there by then ends as `length`.
        queue_s: Waiting for a turn.
        reader_s: A client that takes nothing of its answer.
        ping_s: Most time between two bytes of a stream.
        commit_s: After which an answer that is not streamed begins without its content.
        newline_s: Between two bytes of such an answer.
        drain_s: For running requests, once the server is to end.
        stall_s: After which a request that shows no sign of work makes the server unhealthy.
        session_s: Of a session of live captions.
        behind_s: Speech of such a session that may wait for the model before its client is notified; of twice as much,
            the oldest is left out.
        slice_s: In which a long request before its first token makes room for a short one; None for never.
    """

    request_s: float = 600.0
    queue_s: float = 300.0
    reader_s: float = 60.0
    ping_s: float = 5.0
    commit_s: float = 100.0
    newline_s: float = 15.0
    drain_s: float = 30.0
    stall_s: float = 120.0
    session_s: float = 3600.0
    behind_s: float = 60.0
    slice_s: float | None = 8.0

    def __post_init__(self) -> None:
        for known in fields(self):
            value = getattr(self, known.name)
            if known.name == "slice_s" and value is None:
                continue
            if not is_finite(value) or value < 0 or (value == 0 and known.name != "drain_s"):
                raise ConfigError(f"{known.name} is {value!r}; use a number of seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about one server but its model folder.

    Attributes:
        listen: Where.
        access: Who.
        limits: How much.
        times: How long.
        name: What the model is called in answers; None for the folder's name.
        max_new_tokens: Of a reply whose request gives no limit.
        max_context: Tokens of a request and its reply, where the model is loaded with fewer than its own number.
        max_crops: Of each image whose request gives no limit; None for the model's own number.
        is_strict: Refuse unknown fields and foreign model names instead of naming them in a header.
        log: The form of log lines.
        access_log: A line for each request.
    """

    listen: Listen = field(default_factory=Listen)
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    times: Times = field(default_factory=Times)
    name: str | None = None
    max_new_tokens: int = 1024
    max_context: int | None = None
    max_crops: int | None = None
    is_strict: bool = False
    log: LogFormat = "text"
    access_log: bool = True

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_context", "max_crops"):
            value = getattr(self, name)
            if value is not None and not (is_whole(value) and value >= 1):
                raise ConfigError(f"{name} is {value!r}; use 1 or more")
        if not (self.listen.is_local or self.access.has_keys or self.access.no_auth):
            raise ConfigError(
                f"{self.listen.host} can be reached by other machines; give --api-key-file or EDGEPHI_API_KEY, or "
                "--no-auth to serve whoever asks"
            )
