"""`edgephi serve`: an OpenAI-compatible server and a web page for one model folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.console.commands import ModelCommand, group
from edgephi.console.options import ModelSource, model_options
from edgephi_serve.settings import Limits, Times

if TYPE_CHECKING:
    from edgephi import Model
    from edgephi_serve.settings import Settings


#: Holds one more key: an option could be read by every program of the machine.
KEY_VARIABLE = "EDGEPHI_API_KEY"
_LIMITS, _TIMES = Limits(), Times()
_file = click.Path(path_type=Path)
_address_options = group(
    "Address",
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option("--port", type=int, default=8080, show_default=True, help="0 for one that is free."),
    click.option("--uds", type=_file, metavar="PATH", help="Listen on this Unix socket instead."),
    click.option("--tls-cert", type=_file, metavar="PEM", help="Certificate chain; serves https."),
    click.option("--tls-key", type=_file, metavar="PEM", help="Its key."),
)
_access_options = group(
    "Access",
    click.option(
        "--api-key-file",
        "key_file",
        type=_file,
        metavar="FILE",
        help="Keys, KEY or NAME:KEY on each line; one more in EDGEPHI_API_KEY.",
    ),
    click.option("--no-auth", is_flag=True, help="Serve other machines without a key."),
    click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Also answer to this name; repeat."),
    click.option("--cors-origin", "origins", multiple=True, metavar="URL", help="Web pages that may ask; repeat."),
)
_answer_options = group(
    "Answer",
    click.option("--name", help="What the model is called in answers.  [default: the folder's name]"),
    click.option("--max-new-tokens", type=int, default=1024, show_default=True, help="Where a request gives no limit."),
    click.option("--max-crops", type=int, metavar="N", help="Crops of an image, where a request gives no limit."),
    click.option("--strict", "is_strict", is_flag=True, help="Refuse unknown fields and other models' names."),
)
_limit_options = group(
    "Limit",
    click.option("--queue", type=int, default=_LIMITS.queue, show_default=True, help="Requests that may wait."),
    click.option(
        "--realtime", type=int, default=_LIMITS.realtime, show_default=True, help="Sessions of live captions at once."
    ),
    click.option(
        "--request-timeout", "request_s", type=float, default=_TIMES.request_s, show_default=True, help="Seconds."
    ),
    click.option(
        "--drain", "drain_s", type=float, default=_TIMES.drain_s, show_default=True, help="Seconds to end in."
    ),
    click.option(
        "--ping", "ping_s", type=float, default=_TIMES.ping_s, show_default=True, help="Seconds between signs of life."
    ),
    click.option(
        "--slice",
        "slice_s",
        type=float,
        default=_TIMES.slice_s,
        show_default=True,
        help="Seconds in which a long request makes room.",
    ),
    click.option(
        "--stall", "stall_s", type=float, default=_TIMES.stall_s, show_default=True, help="Seconds to unhealthy."
    ),
)
_log_options = group(
    "Output",
    click.option("--log", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Log lines."),
    click.option("--access-log/--no-access-log", default=True, show_default=True, help="A line for each request."),
)


@click.command(cls=ModelCommand)
@model_options
@_address_options
@_access_options
@_answer_options
@_limit_options
@_log_options
def serve(source: ModelSource, **given: Any) -> None:
    """Serve the model folder MODEL to programs that speak OpenAI's interface, and as a web page.

    Listens on this machine only, unless --host names another address; then requests need a key. Nothing that a request
    holds is logged; a recording lies in an unnamed file on disk while it is transcribed. No address in a request is
    ever opened. SIGTERM lets running requests finish; SIGHUP reads keys again, and the model if its folder has changed.

    \b
    Examples:
      edgephi serve phi4mm
      edgephi serve phi4mm --port 9000 --max-context 16384
      edgephi serve phi4mm --host 0.0.0.0 --api-key-file keys --allow-host phi.lan
      edgephi serve phi4mm --uds /run/edgephi/socket
    """
    from edgephi_serve.server import Server

    if source.cache_bytes == 0:  # what was read before a pause would be read again
        given["slice_s"] = None
    given["max_context"] = source.max_context
    Server(source.path, lambda: _load(source, given["queue"]), _settings(given), click.echo).run()


def _settings(given: dict[str, Any]) -> Settings:
    """The options as settings, checked."""
    from edgephi_serve.settings import Access, Listen, Settings

    def only(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in names}

    return Settings(
        listen=Listen(**only("host", "port", "uds", "tls_cert", "tls_key")),
        access=Access(**only("key_file", "no_auth", "hosts", "origins"), key=os.environ.get(KEY_VARIABLE) or None),
        limits=Limits(**only("queue", "realtime")),
        times=Times(**only("request_s", "drain_s", "ping_s", "stall_s", "slice_s")),
        **only("name", "max_new_tokens", "max_context", "max_crops", "is_strict", "log", "access_log"),
    )


def _load(source: ModelSource, queue: int) -> Model:
    """The model; the engine admits fewer requests than it lets wait."""
    from edgephi import Model

    limits: dict[str, Any] = {
        "max_context": source.max_context,
        "chunk": source.chunk,
        "cache_bytes": source.cache_bytes,
        "memory_bytes": source.memory_bytes,
    }
    return Model.load(
        source.path,
        threads=source.threads,
        kv_cache=source.kv_cache,
        check_hashes=source.check_hashes,
        ignore_memory=source.ignore_memory,
        max_queue=queue + 16,
        **{name: value for name, value in limits.items() if value is not None},
    )
