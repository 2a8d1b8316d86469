"""Options that several commands share, packed into one object each.

Owns their names, help and defaults. Knows nothing about the commands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgephi.manifest import GenerationDefaults
    from edgephi.mode import AdapterChoice
    from edgephi.model import Model
    from edgephi.sampling import SamplingOptions

T = TypeVar("T")
Command = Callable[..., Any]

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Which model folder, and how it runs."""

    model: str
    threads: int | None

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.model)

    def load(self, *, with_adapters: bool = False) -> Model:
        """Load it, with its adapters at once where it is known that they will be needed."""
        from edgephi.model import Model

        return Model.load(self.path, threads=self.threads, with_adapters=with_adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling as given on the command line; None where the model's own recommendation serves."""

    max_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None

    def options(self, advised: GenerationDefaults) -> SamplingOptions:
        """The options of one request, `advised` where nothing was given.

        Raises:
            ConfigError: A value out of range.
        """
        from edgephi.sampling import SamplingOptions

        return SamplingOptions(
            max_new_tokens=self.max_new_tokens,
            temperature=advised.temperature if self.temperature is None else self.temperature,
            top_k=advised.top_k if self.top_k is None else self.top_k,
            top_p=advised.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of the model."""

    prompt: str
    system: str | None
    images: tuple[str, ...]
    audio: tuple[str, ...]
    adapter: AdapterChoice

    @property
    def needs_adapter(self) -> bool:
        """Whether the model's rule, or the user, puts an adapter to work."""
        if self.adapter == "auto":
            return bool(self.images or self.audio)
        return self.adapter != "none"

    def check_files(self) -> None:
        """Open every media file once, which costs nothing beside loading a model.

        Raises:
            ConfigError: One is missing, not readable or empty.
        """
        from edgephi.media import open_media

        for kind, paths in (("picture", self.images), ("audio", self.audio)):
            for path in paths:
                open_media(path, kind).close()

    def messages(self) -> list[dict[str, str]]:
        """The chat: an optional system turn and one user turn."""
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        return [*system, {"role": "user", "content": self.prompt}]


def model_options(command: Command) -> Command:
    """Adds MODEL and --threads; passes them as `source: ModelSource`."""
    return _packed(
        command,
        ModelSource,
        "source",
        [
            click.argument("model"),
            click.option("--threads", type=click.IntRange(min=1), help="Threads to use.  [default: every core]"),
        ],
    )


def sampling_options(command: Command) -> Command:
    """Adds the sampling options; passes them as `sampling: Sampling`."""
    return _packed(
        command,
        Sampling,
        "sampling",
        [
            click.option(
                "--max-new-tokens",
                type=click.IntRange(min=1),
                default=512,
                show_default=True,
                help="Cut the reply after this many tokens.",
            ),
            click.option("--temperature", type=click.FloatRange(min=0), help="0 always takes the likeliest token."),
            click.option("--top-k", type=click.IntRange(min=0), help="Draw from the K likeliest tokens; 0 for all."),
            click.option(
                "--top-p",
                type=click.FloatRange(min=0, max=1, min_open=True),
                help="Draw from the likeliest tokens that hold this much probability.",
            ),
            click.option("--seed", type=click.IntRange(min=0), help="Makes drawing reproducible."),
        ],
    )


def request_options(command: Command) -> Command:
    """Adds PROMPT, media, --system and --adapter; passes them as `request: Request`."""
    return _packed(
        command,
        Request,
        "request",
        [
            click.argument("prompt", default=""),
            click.option("--image", "images", metavar="FILE", multiple=True, help="A picture; repeat for more."),
            click.option("--audio", metavar="FILE", multiple=True, help="An audio clip; repeat for more."),
            click.option("--system", help="Text of the system turn."),
            click.option(
                "--adapter",
                type=click.Choice(["auto", "none", "vision", "speech"]),
                default="auto",
                show_default=True,
                help="Force an adapter, for experiments; auto follows the model's rule.",
            ),
        ],
    )


def _packed(command: Command, kind: type[T], name: str, decorators: Iterable[Callable[[Command], Command]]) -> Command:
    """Decorate `command`, gathering the new parameters into one argument `name` of type `kind`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **values: Any) -> Any:
        packed = {field.name: values.pop(field.name) for field in fields(kind)}  # type: ignore[arg-type]
        return command(*args, **{name: kind(**packed)}, **values)

    wrapped: Command = wrapper
    for decorate in reversed(list(decorators)):
        wrapped = decorate(wrapped)
    return wrapped
