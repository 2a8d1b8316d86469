"""Options that several commands share, packed into one object each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.base.errors import ConfigError
from edgephi.console.commands import group, in_group
from edgephi.console.completion import complete_files, complete_folders
from edgephi.console.logs import log_options, warnings_shown
from edgephi.console.packing import Command, packed
from edgephi.console.sizes import parse_size
from edgephi.console.tools_file import read_tools_file, tools_option
from edgephi.images.detail import DETAILS, Detail
from edgephi.ort.device_names import DEVICE_CHOICES, DeviceChoice

if TYPE_CHECKING:
    from edgephi.base.stage import OnStage
    from edgephi.bundle.manifest import CacheChoice
    from edgephi.model import Model
    from edgephi.model_options import ModelOptions, PrefillChoice
    from edgephi.prompt.routing import AdapterChoice
    from edgephi.request import Request

kv_cache_option = group(
    "Model",
    click.option(
        "--kv-cache",
        type=click.Choice(["auto", "float", "int8"]),
        default="auto",
        show_default=True,
        help="What keys and values are kept in. int8 takes a quarter of the memory and is read faster; the folder must "
        "have been made with `edgephi export --kv-cache int8`. auto: int8 for such a folder, else float.",
    ),
)


def size(_: click.Context, option: click.Parameter, given: str | None) -> int | None:
    """The callback of an option that is a size in bytes, such as `1.9GB`."""
    return None if given is None else parse_size(given, option.opts[0])


memory_option = group(
    "Model",
    click.option(
        "--memory",
        "memory_bytes",
        callback=size,
        metavar="SIZE",
        help="Most memory for this process, such as 6GB, mapped files aside. Where the model has a graph for prefill, "
        "room for its weights makes long prompts faster.  [default: no limit]",
    ),
)
prefill_option = group(
    "Model",
    click.option(
        "--prefill",
        type=click.Choice(["auto", "stored", "off"]),
        default="auto",
        show_default=True,
        envvar="EDGEPHI_PREFILL",
        show_envvar=True,
        help="What reads long prompts. stored: the model's graph for prefill, if its weights are there. auto: also "
        "derives them, where the model was exported with --prefill derived, once that pays. off: never that graph.",
    ),
)
quiet_option = group(
    "Output",
    click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors: no progress, no notes, no timing."),
)
check_hashes_option = group(
    "Model",
    click.option("--check-hashes", is_flag=True, help="First read every file of the model and compare its sha256."),
)
json_option = group(
    "Output", click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Which model folder, and how it runs; None where Model.load's own default serves."""

    model: str
    model_device: DeviceChoice
    threads: int | None
    kv_cache: CacheChoice
    max_context: int | None
    chunk: int | None
    cache_bytes: int | None
    check_hashes: bool
    ignore_memory: bool
    memory_bytes: int | None
    prefill: PrefillChoice

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.model)

    @contextmanager
    def load(self, *, with_adapters: bool = False, on_stage: OnStage | None = None) -> Iterator[Model]:
        """The model for one command, with its adapters at once where it is known that they will be needed.

        In a process of the command's own a signal ends loading at once, and the model lives as long as the process.
        """
        from edgephi.console.loaded import loaded

        context = click.get_current_context(silent=True)
        is_quiet = context is not None and bool(context.params.get("quiet"))
        with warnings_shown(is_quiet=is_quiet), loaded(partial(self._load, with_adapters), on_stage) as model:
            yield model

    def options(self, *, with_adapters: bool = False) -> ModelOptions:
        """How the model is loaded.

        Raises:
            ConfigError: A value is out of range.
        """
        from edgephi.model_options import DEFAULT_CACHE_BYTES, DEFAULT_CHUNK, ModelOptions

        return ModelOptions(
            device=self.model_device,
            threads=self.threads,
            max_context=self.max_context,
            chunk=DEFAULT_CHUNK if self.chunk is None else self.chunk,
            cache_bytes=DEFAULT_CACHE_BYTES if self.cache_bytes is None else self.cache_bytes,
            kv_cache=self.kv_cache,
            with_adapters=with_adapters,
            check_hashes=self.check_hashes,
            ignore_memory=self.ignore_memory,
            memory_bytes=self.memory_bytes,
            prefill=self.prefill,
        )

    def _load(self, with_adapters: bool, on_stage: OnStage | None) -> Model:
        from edgephi.base.stage import ignore_stage
        from edgephi.model import Model

        options = self.options(with_adapters=with_adapters)
        return Model.load(self.path, options, on_stage=on_stage or ignore_stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The form of stdout, and what is left out on stderr."""

    quiet: bool
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSource:
    """The request of a command: a prompt, files of media, and how they are routed."""

    prompt: str
    system: str | None
    images: tuple[str, ...]
    audio: tuple[str, ...]
    adapter: AdapterChoice
    max_crops: int | None
    detail: Detail
    tools_file: str | None

    @property
    def needs_adapter(self) -> bool:
        """Whether the model's rule, or the user, puts an adapter to work."""
        if self.adapter == "auto":
            return bool(self.images or self.audio)
        return self.adapter != "none"

    def check_files(self) -> None:
        """Open every media file once, which costs nothing beside loading a model.

        Raises:
            ConfigError: One is missing, not readable or empty, or `max_crops` is out of range.
        """
        from edgephi.sources.open_files import plain_source
        from edgephi.sources.source import open_media

        if self.max_crops is not None and self.max_crops < 1:
            raise ConfigError(f"max_crops is {self.max_crops}; use a whole number, 1 or more")
        for kind, paths in (("image", self.images), ("audio", self.audio)):
            for path in paths:
                open_media(plain_source(path, kind), kind).close()

    def notes(self) -> list[str]:
        """Remarks for the user on audio that can be read whole, a line each.

        Raises:
            ConfigError: One cannot be read.
        """
        if not self.audio:
            return []
        from edgephi.audio.recording_file import recording_notes
        from edgephi.sources.open_files import plain_source

        return [note for path in self.audio for note in recording_notes(plain_source(path, "audio"))]

    def build(self) -> Request:
        """The request: an optional system turn, with the tools, and one user turn.

        Raises:
            ConfigError: The prompt, the media or the tools cannot be used.
        """
        from edgephi.prompt.system_turn import with_system
        from edgephi.request import Request

        tools = None if self.tools_file is None else read_tools_file(self.tools_file)
        messages = with_system([{"role": "user", "content": self.prompt}], self.system, tools)
        return Request(
            messages,
            images=self.images,
            audio=self.audio,
            adapter=self.adapter,
            max_crops=self.max_crops,
            detail=self.detail,
        )


def model_options(command: Command, device_flag: str = "--device") -> Command:
    """Adds MODEL and how it runs; passes them as `source: ModelSource`.

    Args:
        command: Gets them.
        device_flag: What the option for the device is called; `--device` of some commands is another.
    """
    return packed(
        command,
        ModelSource,
        "source",
        [
            click.argument("model", shell_complete=complete_folders),
            *in_group(
                "Model",
                [
                    _device_option(device_flag),
                    _threads_option(),
                    kv_cache_option,
                    prefill_option,
                    *_memory_options(),
                    check_hashes_option,
                ],
            ),
            *in_group("Output", log_options()),
        ],
    )


def _device_option(flag: str) -> Callable[[Command], Command]:
    return click.option(
        flag,
        "model_device",
        type=click.Choice(DEVICE_CHOICES),
        default="cpu",
        envvar="EDGEPHI_DEVICE",
        show_envvar=True,
        help="What computes: webgpu and cuda are GPUs; auto takes one that the folder suits, and says which.  "
        "[default: cpu]",
    )


def _threads_option() -> Callable[[Command], Command]:
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        envvar="EDGEPHI_THREADS",
        show_envvar=True,
        help="Threads to use.  [default: one per physical core]",
    )


def output_options(command: Command) -> Command:
    """Adds --json and --quiet; passes them as `output: Output`."""
    return packed(command, Output, "output", in_group("Output", [quiet_option, json_option]))


def _memory_options() -> list[Callable[[Command], Command]]:
    """Limits of the memory that the model may take. ModelOptions refuses what is out of range."""
    return [
        click.option(
            "--max-context",
            type=int,
            metavar="N",
            help="Refuse requests longer than N tokens, such as 4096, before any work.  [default: the model's own]",
        ),
        click.option(
            "--cache-bytes",
            callback=size,
            metavar="SIZE",
            help="Most memory kept between requests for what they read, such as 512MB; 0 keeps nothing.  "
            "[default: 1GiB]",
        ),
        click.option(
            "--chunk",
            type=int,
            metavar="N",
            help="Tokens of a prompt read at once: more are faster and take more memory.  [default: 256]",
        ),
        memory_option,
        click.option(
            "--ignore-memory", is_flag=True, help="Try even what this machine does not seem to have the memory for."
        ),
    ]


max_crops_option = click.option(
    "--max-crops",
    type=int,
    metavar="N",
    help="Cut an image into N parts at most, such as 4: fewer are faster and show less.  "
    "[default: the model's own number]",
)
detail_option = click.option(
    "--detail",
    type=click.Choice(DETAILS),
    default="auto",
    show_default=True,
    help="low reads an image as one crop, in little time; high and auto take as many crops as its size fills.",
)


def request_options(command: Command) -> Command:
    """Adds PROMPT, media, --system and --adapter; passes them as `request: RequestSource`."""
    return packed(
        command,
        RequestSource,
        "request",
        [
            click.argument("prompt", default=""),
            *in_group("Prompt", _prompt_options()),
        ],
    )


def _prompt_options() -> list[Callable[[Command], Command]]:
    return [
        click.option(
            "--image",
            "images",
            metavar="FILE",
            multiple=True,
            shell_complete=complete_files,
            help="An image; repeat for more.",
        ),
        click.option(
            "--audio",
            metavar="FILE",
            multiple=True,
            shell_complete=complete_files,
            help="Audio; repeat for more.",
        ),
        click.option("--system", metavar="TEXT", help='Text of the system turn, such as "Answer in French."'),
        tools_option,
        click.option(
            "--adapter",
            type=click.Choice(["auto", "none", "vision", "speech"]),
            default="auto",
            show_default=True,
            help="Force an adapter, for experiments; auto follows the model's rule.",
        ),
        max_crops_option,
        detail_option,
    ]
