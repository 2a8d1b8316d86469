"""The options that say how a reply is chosen, when it ends and what it must be.

SamplingOptions checks the limits: it says in one line what is out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgephi.base.errors import ConfigError
from edgephi.console.commands import in_group
from edgephi.console.packing import Command, packed

if TYPE_CHECKING:
    from edgephi.generation.constraint import ConstraintSpec
    from edgephi.generation.options import SamplingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling as given on the command line; None where the model's own advice serves."""

    max_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float
    frequency_penalty: float
    logit_bias: tuple[str, ...]
    seed: int | None
    stop: tuple[str, ...]
    json_schema: str | None
    regex: str | None
    grammar: str | None
    speculate: bool | None

    def options(self) -> SamplingOptions:
        """The options of one request.

        Raises:
            ConfigError: A value out of range, or a file that cannot be read.
        """
        from edgephi.generation.options import SamplingOptions

        return SamplingOptions(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
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
        from edgephi.generation.constraint import check_constraint

        options = replace(self.options(), logprobs=logprobs)
        if options.constraint is not None:
            check_constraint(options.constraint)

    def _constraint(self) -> ConstraintSpec | None:
        from edgephi.generation.constraint import Grammar, JsonSchema, Regex

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


def sampling_options(command: Command) -> Command:
    """Adds the sampling options; passes them as `sampling: Sampling`."""
    return packed(
        command,
        Sampling,
        "sampling",
        [*in_group("Sampling", _choosing_options()), *in_group("Reply", [*_ending_options(), *_shape_options()])],
    )


def _choosing_options() -> list[Callable[[Command], Command]]:
    """How a token is chosen."""
    return [
        click.option(
            "--temperature",
            type=float,
            metavar="T",
            help="0 always takes the likeliest token; try 0.7.  [default: the model's advice]",
        ),
        click.option(
            "--top-k",
            type=int,
            metavar="K",
            help="Draw from the K likeliest tokens, such as 50; 0 for all.  [default: the model's advice]",
        ),
        click.option(
            "--top-p",
            type=float,
            metavar="P",
            help="Draw from the likeliest tokens that hold this much probability, such as 0.9.  "
            "[default: the model's advice]",
        ),
        click.option(
            "--min-p",
            type=float,
            metavar="P",
            help="Draw from tokens at least P times as likely as the likeliest, such as 0.05; 0 for all.  "
            "[default: the model's advice]",
        ),
        click.option(
            "--repetition-penalty",
            type=float,
            metavar="X",
            help="Above 1 makes tokens of the prompt and the reply rarer, such as 1.1; 1 for none.  "
            "[default: the model's advice]",
        ),
        click.option(
            "--presence-penalty",
            type=float,
            metavar="X",
            default=0.0,
            show_default=True,
            help="Taken from the score of every token in the reply so far, such as 0.5; -2 to 2.",
        ),
        click.option(
            "--frequency-penalty",
            type=float,
            metavar="X",
            default=0.0,
            show_default=True,
            help="Taken once for each time a token is in the reply so far, such as 0.5; -2 to 2.",
        ),
        click.option(
            "--logit-bias",
            metavar="ID=BIAS",
            multiple=True,
            help="Added to a token's score, -100 to 100, such as 1234=-100; repeat for more.",
        ),
        click.option("--seed", type=int, metavar="N", help="Makes drawing reproducible, such as 7.  [default: random]"),
        click.option(
            "--speculate/--no-speculate",
            default=None,
            help="Draft several tokens and check them in one forward pass.  [default: where it is faster]",
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
    """The form that a reply must have."""
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
    """The content of a file that was given as an option's value."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option} {path}: not UTF-8 at byte {error.start:,}; convert it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{option} {path}: cannot be read ({reason}); give the path of a text file") from None
