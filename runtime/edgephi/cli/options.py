"""Options that several commands share, packed into one object each.

Owns their names, help and defaults. Knows nothing about the commands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgephi.errors import ConfigError

if TYPE_CHECKING:
    from edgephi.constraint import ConstraintSpec
    from edgephi.manifest import GenerationDefaults
    from edgephi.mode import AdapterChoice
    from edgephi.model import Model
    from edgephi.sampling_options import SamplingOptions

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
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: tuple[str, ...]
    seed: int | None
    stop: tuple[str, ...]
    json_schema: str | None
    regex: str | None
    grammar: str | None
    speculate: bool | None

    def options(self, advised: GenerationDefaults) -> SamplingOptions:
        """The options of one request, `advised` where nothing was given.

        Raises:
            ConfigError: A value out of range, or a file that cannot be read.
        """
        from edgephi.sampling_options import SamplingOptions

        return SamplingOptions(
            max_new_tokens=self.max_new_tokens,
            temperature=advised.temperature if self.temperature is None else self.temperature,
            top_k=advised.top_k if self.top_k is None else self.top_k,
            top_p=advised.top_p if self.top_p is None else self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=tuple(map(_bias, self.logit_bias)),
            seed=self.seed,
            stop=self.stop,
            constraint=self._constraint(),
            speculation=self.speculate,
        )

    def check(self, *, logprobs: int | None = None) -> None:
        """Refuse what is wrong for every model, before one is loaded.

        Args:
            logprobs: The command's own option, if it has one.

        Raises:
            ConfigError: A value out of range, or a schema, expression or grammar that cannot be used.
            EdgeError: A package that it needs is not installed.
        """
        from edgephi.constraint import check_constraint
        from edgephi.manifest import GenerationDefaults

        options = replace(self.options(GenerationDefaults()), logprobs=logprobs)
        if options.constraint is not None:
            check_constraint(options.constraint)

    def _constraint(self) -> ConstraintSpec | None:
        from edgephi.constraint import Grammar, JsonSchema, Regex

        given = {"--json-schema": self.json_schema, "--regex": self.regex, "--grammar": self.grammar}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise ConfigError(f"{' and '.join(names)} were given; a reply can follow one of them")
        if self.json_schema is not None:
            text = self.json_schema
            return JsonSchema(text if text.lstrip().startswith("{") else _text_of("--json-schema", text))
        if self.regex is not None:
            return Regex(self.regex)
        return None if self.grammar is None else Grammar(_text_of("--grammar", self.grammar))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of the model."""

    prompt: str
    system: str | None
    images: tuple[str, ...]
    audio: tuple[str, ...]
    adapter: AdapterChoice
    max_crops: int | None

    @property
    def needs_adapter(self) -> bool:
        """Whether the model's rule, or the user, puts an adapter to work."""
        if self.adapter == "auto":
            return bool(self.images or self.audio)
        return self.adapter != "none"

    def media(self) -> dict[str, Any]:
        """The arguments of Model's requests beside the messages."""
        given: dict[str, Any] = {"images": self.images, "audio": self.audio, "adapter": self.adapter}
        return given if self.max_crops is None else {**given, "max_crops": self.max_crops}

    def check_files(self) -> None:
        """Open every media file once, which costs nothing beside loading a model.

        Raises:
            ConfigError: One is missing, not readable or empty, or `max_crops` is out of range.
        """
        from edgephi.media import open_media

        if self.max_crops is not None and self.max_crops < 1:
            raise ConfigError(f"max_crops is {self.max_crops}; use a whole number, 1 or more")
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
            click.option(
                "--threads", type=click.IntRange(min=1), help="Threads to use.  [default: one per physical core]"
            ),
        ],
    )


def sampling_options(command: Command) -> Command:
    """Adds the sampling options; passes them as `sampling: Sampling`.

    Their limits are those of SamplingOptions, which says in one line what is out of range.
    """
    return _packed(command, Sampling, "sampling", [*_choosing_options(), *_ending_options(), *_shape_options()])


def _choosing_options() -> list[Callable[[Command], Command]]:
    """How a token is chosen."""
    return [
        click.option("--temperature", type=float, metavar="T", help="0 always takes the likeliest token; try 0.7."),
        click.option("--top-k", type=int, metavar="K", help="Draw from the K likeliest tokens, such as 50; 0 for all."),
        click.option(
            "--top-p",
            type=float,
            metavar="P",
            help="Draw from the likeliest tokens that hold this much probability, such as 0.9.",
        ),
        click.option(
            "--min-p",
            type=float,
            metavar="P",
            default=0.0,
            help="Draw from tokens at least P times as likely as the likeliest, such as 0.05.",
        ),
        click.option(
            "--repetition-penalty",
            type=float,
            metavar="X",
            default=1.0,
            help="Above 1 makes tokens of the prompt and the reply rarer, such as 1.1.",
        ),
        click.option(
            "--presence-penalty",
            type=float,
            metavar="X",
            default=0.0,
            help="Taken from the score of every token in the reply so far, such as 0.5; -2 to 2.",
        ),
        click.option(
            "--frequency-penalty",
            type=float,
            metavar="X",
            default=0.0,
            help="Taken once for each time a token is in the reply so far, such as 0.5; -2 to 2.",
        ),
        click.option(
            "--logit-bias",
            metavar="ID=BIAS",
            multiple=True,
            help="Added to a token's score, -100 to 100, such as 1234=-100; repeat for more.",
        ),
        click.option("--seed", type=int, metavar="N", help="Makes drawing reproducible, such as 7."),
        click.option(
            "--speculate/--no-speculate",
            default=None,
            help="Guess several tokens and check them at once.  [default: where it is faster]",
        ),
    ]


def _ending_options() -> list[Callable[[Command], Command]]:
    """When a reply ends."""
    return [
        click.option(
            "--max-new-tokens",
            type=int,
            metavar="N",
            default=512,
            show_default=True,
            help="Cut the reply after this many tokens.",
        ),
        click.option(
            "--stop", metavar="TEXT", multiple=True, help='End the reply before TEXT, such as "###"; repeat for more.'
        ),
    ]


def _shape_options() -> list[Callable[[Command], Command]]:
    """What a reply must be."""
    return [
        click.option(
            "--json-schema",
            metavar="FILE|TEXT",
            help="""The reply is JSON of this schema, such as '{"type": "array", "items": {"type": "string"}}'.""",
        ),
        click.option("--regex", metavar="PATTERN", help="The whole reply matches PATTERN, such as 'yes|no'."),
        click.option(
            "--grammar", metavar="FILE", help="The reply is a sentence of the Lark grammar in FILE, such as sql.lark."
        ),
    ]


def _bias(given: str) -> tuple[int, float]:
    token_id, _, bias = given.partition("=")
    try:
        return int(token_id), float(bias)
    except ValueError:
        raise ConfigError(f"--logit-bias is {given!r}; give a token's id and a number, such as 1234=-100") from None


def _text_of(option: str, path: str) -> str:
    """What is in a file that was given as an option's value."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option} {path}: not UTF-8 at byte {error.start:,}; convert it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{option} {path}: cannot be read ({reason}); give the path of a text file") from None


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
            click.option(
                "--max-crops",
                type=int,
                metavar="N",
                help="Cut a picture into N parts at most, such as 4: fewer are faster and show less.",
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
