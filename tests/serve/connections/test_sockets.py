"""A server that leaves its socket to the next one keeps every connection that it has accepted."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from edgephi_serve.connections.sockets import stop_accepting


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(2))
    await writer.drain()
    writer.close()


async def _ask(listening: socket.socket, num_steps: int) -> bytes:
    """The answer to a client that connects so many steps of the event loop before the server stops accepting."""
    server = await asyncio.start_unix_server(_echo, sock=listening.dup())
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(listening.getsockname())
        client.send(b"hi")
        for _ in range(num_steps):
            await asyncio.sleep(0)
        await stop_accepting([server])
        following = await asyncio.start_unix_server(_echo, sock=listening.dup())
        async with following:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 2), 10)


@pytest.mark.parametrize("num_steps", range(6))
def test_a_connection_is_answered_however_late_it_was_made(tmp_path: Path, num_steps: int):
    """By this server if it had accepted it, else by the next one on the socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen(8)
        listening.setblocking(False)
        assert asyncio.run(_ask(listening, num_steps)) == b"hi"
