"""The life of a server: sockets, loading, signals, reload and the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from edgephi import ArtifactError, Model, SamplingOptions, Timing
from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.bundle import Bundle
from edgephi_serve.app import Parts, make_app
from edgephi_serve.engine import Engine
from edgephi_serve.guard import Guard
from edgephi_serve.identity import Identity
from edgephi_serve.keys import read_keys
from edgephi_serve.late import protocol
from edgephi_serve.notify import notify, passed_sockets, watchdog_s
from edgephi_serve.settings import Listen, Settings

#: For the last bytes of answers, once their work has ended.
_FLUSH_S = 2
_WARM_TOKENS = 8


class _HttpServer(uvicorn.Server):
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
        say: Gets the lines for whoever started the server.
    """

    def __init__(self, folder: Path, load: Callable[[], Model], settings: Settings, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._load = load
        self._settings = settings
        self._say = say
        Bundle(folder).close()  # one clear line for what is no model folder
        self._identity = Identity.of(folder, settings.name)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ConfigError: The address or the keys cannot be used.
            EdgeError: The model cannot be loaded.
        """
        access = self._settings.access
        keys = read_keys(access.key_file, access.key)
        sockets = passed_sockets() or [open_socket(self._settings.listen)]
        try:
            with asyncio.Runner() as runner:
                self._engine = Engine(self._settings, shares_keys=len(keys) > 1)
                parts = Parts(engine=self._engine, settings=self._settings, identity=self._identity, keys=keys)
                self._guard: Guard = make_app(parts)
                runner.run(self._serve(sockets))
        finally:
            if self._settings.listen.uds is not None:
                self._settings.listen.uds.unlink(missing_ok=True)
        if self._error is not None:
            raise self._error

    async def _serve(self, sockets: list[socket.socket]) -> None:
        self._http = _HttpServer(self._config())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGINT, self._end)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload()))
        self._address = address_of(sockets[0], self._settings.listen)
        self._spawn(self._start())
        self._spawn(self._watch())
        await self._http.serve(sockets=sockets)
        for task in self._tasks:
            task.cancel()
        self._engine.close()

    def _config(self) -> uvicorn.Config:
        listen, limits = self._settings.listen, self._settings.limits
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):  # their lines hold paths and arguments
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        return uvicorn.Config(
            self._guard,
            loop="asyncio",
            http=protocol(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_s,
            timeout_graceful_shutdown=_FLUSH_S,
            h11_max_incomplete_event_size=limits.head_bytes,
            ssl_certfile=listen.tls_cert,
            ssl_keyfile=listen.tls_key,
        )

    async def _start(self) -> None:
        try:
            model = await asyncio.to_thread(self._load)
            self._engine.pace.note_reply(await asyncio.to_thread(_warm, model))
        except BaseException as error:
            self._error = error
            self._http.should_exit = True
            return
        self._engine.become_ready(model)
        self._say(f"serving {self._identity.name} on {self._address}")
        notify(f"READY=1\nSTATUS=serving {self._identity.name}")

    async def _watch(self) -> None:
        """Give systemd its signs of life while requests get on."""
        period_s = watchdog_s()
        while period_s is not None:
            await asyncio.sleep(period_s / 2)
            if not self._engine.is_stuck:
                notify("WATCHDOG=1")

    def _end(self) -> None:
        """The first signal drains; the second ends at once."""
        if self._engine.state == "draining":
            self._engine.stop_all()
            self._http.should_exit = True
        else:
            self._spawn(self._drain())

    async def _drain(self) -> None:
        notify("STOPPING=1")
        is_loading = self._engine.state == "loading"
        await self._engine.drain()
        await asyncio.sleep(0.05)  # answers that have just ended are on their way
        self._http.should_exit = True
        if is_loading:  # native code that loads cannot be left otherwise
            sys.stderr.flush()
            os._exit(0)

    async def _reload(self) -> None:
        """Read keys again, and the model if its folder has changed."""
        access = self._settings.access
        try:
            keys = read_keys(access.key_file, access.key)
            self._guard.keys, self._engine.shares_keys = keys, len(keys) > 1
            fresh = await asyncio.to_thread(self._check_folder)
            if fresh.fingerprint == self._identity.fingerprint and self._engine.state == "ready":
                self._say("the keys were read again")
                return
            notify("STATUS=loading the new model")
            await self._engine.replace(self._load)
        except EdgeError as error:
            self._say(f"not reloaded: {error}")
            notify("STATUS=not reloaded")
            return
        self._identity.become(fresh)
        self._say(f"serving {self._identity.name}, loaded again")
        notify(f"STATUS=serving {self._identity.name}")

    def _check_folder(self) -> Identity:
        """What the folder holds now. Raises EdgeError if it cannot be loaded; nothing has changed then."""
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


def _warm(model: Model) -> Timing:
    """What is made at the first use is made before the first client comes."""
    return model.generate("Hello", options=SamplingOptions.greedy(max_new_tokens=_WARM_TOKENS)).timing


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
    except OSError as error:
        where = listen.uds or f"{listen.host}:{listen.port}"
        raise ConfigError(f"{where}: cannot be listened on ({error.strerror or error}); choose another") from None
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


def address_of(opened: socket.socket, listen: Listen) -> str:
    """Where clients find the server."""
    if opened.family == socket.AF_UNIX:
        return f"unix:{opened.getsockname()}"
    host, port = opened.getsockname()[:2]
    scheme = "http" if listen.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
