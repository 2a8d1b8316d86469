"""The sockets that a server listens on: its own, or those that systemd opened."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi_serve.settings import Listen

_FIRST_PASSED = 3
#: For a connection that was accepted just before to be among its server's.
_ACCEPTED_S = 0.2


def passed_sockets() -> list[socket.socket]:
    """Sockets that systemd opened for this process; none otherwise. Later calls find none."""
    owner, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if owner != str(os.getpid()) or not count.isdigit():
        return []
    passed = [socket.socket(fileno=_FIRST_PASSED + i) for i in range(int(count))]
    for one in passed:
        one.set_inheritable(False)
    return passed


def listen_of(passed: Sequence[socket.socket], listen: Listen) -> Listen:
    """Where a server with these sockets can be reached: of several, the one that most can reach."""
    found = [_reach(one, listen) for one in passed]
    return min(found, key=lambda one: (one.is_local, one.uds is not None))


def _reach(one: socket.socket, listen: Listen) -> Listen:
    tls_cert, tls_key = listen.tls_cert, listen.tls_key
    if one.family == socket.AF_UNIX:
        return Listen(uds=Path(os.fsdecode(one.getsockname())), tls_cert=tls_cert, tls_key=tls_key)
    host, port = one.getsockname()[:2]
    return Listen(host=f"[{host}]" if ":" in host else host, port=port, tls_cert=tls_cert, tls_key=tls_key)


def open_socket(listen: Listen) -> socket.socket:
    """The socket that the server listens on.

    Raises:
        ConfigError: The address cannot be used.
    """
    try:
        if listen.uds is not None:
            return _unix_socket(listen.uds)
        found = socket.getaddrinfo(listen.host.strip("[]"), listen.port, type=socket.SOCK_STREAM)
        family, kind, number, _, address = found[0]
        made = socket.socket(family, kind, number)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, UnicodeError) as error:
        where = listen.uds or f"{listen.host}:{listen.port}"
        raise ConfigError(
            f"{where}: cannot be listened on ({getattr(error, 'strerror', None) or error}); choose another"
        ) from None
    made.listen(128)
    made.setblocking(False)
    return made


def _unix_socket(path: Path) -> socket.socket:
    """A socket file for its owner and group; one that a killed server left is replaced."""
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(f"{path}: is there and no socket; choose another path")
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise ConfigError(f"{path}: another server listens there; choose another path")
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(128)
    made.setblocking(False)
    return made


async def stop_accepting(servers: Iterable[asyncio.Server]) -> None:
    """Leave what connects from now on to the next process on the socket, and keep what is already accepted.

    A server that is closed first drops connections that asyncio has accepted but not yet given to a protocol.
    """
    loop = asyncio.get_running_loop()
    open_servers = list(servers)
    for server in open_servers:
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(_ACCEPTED_S)
    for server in open_servers:
        server.close()


def address_of(opened: socket.socket, listen: Listen) -> str:
    """Where clients find the server."""
    if opened.family == socket.AF_UNIX:
        return f"unix:{opened.getsockname()}"
    host, port = opened.getsockname()[:2]
    scheme = "http" if listen.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
