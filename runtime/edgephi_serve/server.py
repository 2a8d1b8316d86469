"""The life of a server: loading, signals, reload and the end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgephi import ArtifactError, Model
from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.bundle import Bundle
from edgephi_serve.app import Parts, make_app
from edgephi_serve.connections.deadlines import http_protocol, websocket_protocol
from edgephi_serve.connections.keys import read_keys
from edgephi_serve.connections.sockets import address_of, listen_of, open_socket, passed_sockets, stop_accepting
from edgephi_serve.endpoints.guard import Guard
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.notify import notify, watchdog_s
from edgephi_serve.settings import Settings
from edgephi_serve.turns.engine import Engine
from edgephi_serve.warming import warm

#: For the last bytes of answers, once their work has ended.
_FLUSH_S = 2
#: For the first bytes of a connection that was accepted just before the end.
_FIRST_BYTES_S = 5
#: In GNU's malloc.h.
_M_ARENA_MAX = -8


def http_config(guard: Guard, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves an application: without its own log, whose lines hold paths and arguments.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        guard,
        loop="asyncio",
        http=http_protocol(settings),
        ws=websocket_protocol(settings),
        ws_max_size=settings.limits.frame_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.limits.keep_alive_s,
        timeout_graceful_shutdown=_FLUSH_S,
        h11_max_incomplete_event_size=settings.limits.head_bytes,
        ssl_certfile=settings.listen.tls_cert,
        ssl_keyfile=settings.listen.tls_key,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{settings.listen.tls_cert}: not usable with its key ({error.strerror})") from None
    return config


class HttpServer(uvicorn.Server):
    """uvicorn's, without its signals: it would end with their numbers instead of 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to us."""
        yield


class Server:
    """One model folder behind one address.

    Args:
        folder: Of the model.
        load: Loads it.
        settings: Everything else.
        report: Gets the lines for whoever started the server.
    """

    def __init__(
        self, folder: Path, load: Callable[[], Model], settings: Settings, report: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._load = load
        self._settings = settings
        self._report = report
        Bundle(folder).close()  # one clear line for what is no model folder
        self._identity = Identity.of(folder, settings.name)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._is_passed = self._is_ending = False

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ConfigError: The address or the keys cannot be used.
            EdgeError: The model cannot be loaded.
        """
        _take_few_arenas()
        passed = passed_sockets()
        self._is_passed = bool(passed)
        if passed:
            self._settings = replace(self._settings, listen=listen_of(passed, self._settings.listen))
        access = self._settings.access
        keys = read_keys(access.key_file, access.key)
        sockets = passed or [open_socket(self._settings.listen)]
        try:
            with asyncio.Runner() as runner:
                self._engine = Engine(self._settings, shares_keys=len(keys) > 1)
                parts = Parts(engine=self._engine, settings=self._settings, identity=self._identity, keys=keys)
                self._guard: Guard = make_app(parts)
                self._http = HttpServer(http_config(self._guard, self._settings))
                runner.run(self._serve(sockets))
        finally:
            if self._settings.listen.uds is not None and not passed:
                self._settings.listen.uds.unlink(missing_ok=True)
        if self._error is not None:
            raise self._error

    async def _serve(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGINT, self._end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload()))
        self._address = address_of(sockets[0], self._settings.listen)
        if self._is_passed:  # requests wait in the socket, or are another process's, until they can be answered
            await self._start()
        else:
            self._spawn(self._start())
        await self._http.serve(sockets=sockets)
        for task in self._tasks:
            task.cancel()
        self._engine.close()

    async def _start(self) -> None:
        try:
            model = await asyncio.to_thread(self._load)
            self._engine.pace.note_reply(await asyncio.to_thread(warm, model))
        except BaseException as error:
            self._error = error
            self._http.should_exit = True
            return
        self._engine.become_ready(model)
        self._report(f"serving {self._identity.name} on {self._address}")
        notify(f"READY=1\nSTATUS=serving {self._identity.name}")
        self._spawn(self._watch())

    async def _watch(self) -> None:
        """Give systemd its signs of life while requests get on."""
        period_s = watchdog_s()
        while period_s is not None:
            await asyncio.sleep(period_s / 2)
            if not self._engine.is_stuck:
                notify("WATCHDOG=1")

    def _end(self) -> None:
        """The first signal drains; the second ends at once."""
        if self._is_ending:
            self._engine.stop_all()
            self._http.should_exit = True
        else:
            self._is_ending = True
            self._spawn(self._drain())

    async def _drain(self) -> None:
        notify("STOPPING=1")
        is_loading = self._engine.state == "loading"
        if self._is_passed and not is_loading:
            await self._hand_over()
        await self._engine.drain()
        await asyncio.sleep(0.05)  # answers that have just ended are on their way
        self._http.should_exit = True
        if is_loading:  # native code that loads cannot be left otherwise
            sys.stderr.flush()
            os._exit(0)

    async def _hand_over(self) -> None:
        """Accept nothing more, which the next process on the socket does, and answer all that was accepted."""
        self._engine.dismissal.set()
        began_s = time.monotonic()
        await stop_accepting(self._http.servers)
        while (passed_s := time.monotonic() - began_s) < self._settings.times.drain_s and (
            self._engine.running or self._engine.waiting or self._is_asked(with_silent=passed_s < _FIRST_BYTES_S)
        ):
            await asyncio.sleep(0.05)

    def _is_asked(self, *, with_silent: bool) -> bool:
        """Whether a connection waits for an answer, or has sent nothing yet; closing one would refuse its request."""
        cycles = [one.cycle for one in self._http.server_state.connections if isinstance(one, H11Protocol)]
        return any(with_silent if cycle is None else not cycle.response_complete for cycle in cycles)

    async def _reload(self) -> None:
        """Read keys again, and the model if its folder has changed."""
        access = self._settings.access
        try:
            keys = read_keys(access.key_file, access.key)
            self._guard.keys, self._engine.shares_keys = keys, len(keys) > 1
            fresh = await asyncio.to_thread(self._check_folder)
            if fresh.fingerprint == self._identity.fingerprint and self._engine.state == "ready":
                self._report("the keys were read again")
                return
            notify("STATUS=loading the new model")
            await self._engine.replace(self._load)
        except EdgeError as error:
            self._report(f"not reloaded: {error}")
            notify("STATUS=not reloaded")
            return
        self._identity.become(fresh)
        self._report(f"serving {self._identity.name}, loaded again")
        notify(f"STATUS=serving {self._identity.name}")

    def _check_folder(self) -> Identity:
        """The folder as it is now. Raises EdgeError if it cannot be loaded; nothing has changed then."""
        try:
            fresh = Identity.of(self._folder, self._settings.name)
        except OSError as error:
            raise ArtifactError(f"{self._folder}: cannot be read ({error.strerror})") from None
        if fresh.fingerprint != self._identity.fingerprint:
            bundle = Bundle(self._folder)
            try:
                bundle.look_for_damage()
            finally:
                bundle.close()
        return fresh

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _take_few_arenas() -> None:
    """Let the threads of requests share their memory: else each keeps what it has freed, 100 MB and more in all."""
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not GNU's
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
