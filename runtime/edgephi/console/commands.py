"""edgephi's commands beyond click's: options in groups, a model folder from the environment, suggestions."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import click

from edgephi.console.packing import Command, decorated_with

#: Names the model folder where the command line does not.
MODEL_VARIABLE = "EDGEPHI_MODEL"
_GROUP = "help_group"
_NEAR = 0.6
_ORDER = ("Prompt", "Sampling", "Reply", "Model", "Output", "Options")


def in_group(title: str, decorators: Iterable[Callable[[Command], Command]]) -> list[Callable[[Command], Command]]:
    """The same decorators; help lists their options under this title."""

    def marked(decorator: Callable[[Command], Command]) -> Callable[[Command], Command]:
        def decorate(command: Command) -> Command:
            command = decorator(command)
            params: list[click.Parameter] = command.__click_params__  # type: ignore[attr-defined]
            setattr(params[-1], _GROUP, title)
            return command

        return decorate

    return [marked(decorator) for decorator in decorators]


def group(title: str, *decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for several options, which help lists under this title."""
    return decorated_with(*in_group(title, decorators))


def renamed(**names: str) -> dict[str, Any]:
    """Context settings with which an option's former name still serves, without being shown.

    Args:
        names: The present name by the former one, both without their dashes.
    """
    former = {old.replace("_", "-"): new for old, new in names.items()}
    return {"token_normalize_func": lambda name: former.get(name, name)}


class GroupedCommand(click.Command):
    """A command whose help lists options by what they are about; only --help is in no group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section for each group, the commands' own first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(getattr(param, _GROUP, "Options"), []).append(record)
        for title in [*(name for name in sections if name not in _ORDER), *(n for n in _ORDER if n in sections)]:
            with formatter.section(title if title == "Options" else f"{title} options"):
                formatter.write_dl(sections[title])


class ModelCommand(GroupedCommand):
    """A command whose first argument, MODEL, may come from EDGEPHI_MODEL instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the environment's folder first unless the arguments begin with one."""
        folder = os.environ.get(MODEL_VARIABLE)
        if folder and self._lacks_model(ctx, args):
            args = [os.path.abspath(folder), *args]
        return super().parse_args(ctx, args)

    def _lacks_model(self, ctx: click.Context, args: list[str]) -> bool:
        """An existing folder is MODEL; so is the first of as many arguments as the command has."""
        arguments = [param for param in self.params if isinstance(param, click.Argument)]
        try:
            values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        except click.UsageError:
            return False  # said when it is parsed in earnest
        given = [value for argument in arguments for value in _texts(values.get(argument.name or ""))]
        if not given:
            return True
        is_open = any(argument.nargs < 0 for argument in arguments)
        return not os.path.isdir(given[0]) and (is_open or len(given) < len(arguments))


class SuggestingGroup(click.Group):
    """A group that names the command that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; a name that no command has is refused with the nearest ones."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"no such command {name!r}{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class LateGroup(SuggestingGroup):
    """A group whose subcommands are imported when one is asked for, so that help loads little.

    Attributes:
        modules: The module of each subcommand, which has it under its name.
    """

    modules: ClassVar[Mapping[str, str]]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the subcommands."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand of that name."""
        return late_command(self.modules, cmd_name)


def late_command(modules: Mapping[str, str], name: str) -> click.Command | None:
    """The command of that name from its module; None where no module is listed for it."""
    if name not in modules:
        return None
    command: click.Command = getattr(importlib.import_module(modules[name]), name)
    return command


def is_near(name: str, known: Iterable[str]) -> bool:
    """Whether a name is probably one of these with a slip in it."""
    return bool(difflib.get_close_matches(name.lower(), list(known), cutoff=_NEAR))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean run?`, or all the names where none is near."""
    near = difflib.get_close_matches(name.lower(), list(known), n=2, cutoff=_NEAR)
    return f"; did you mean {' or '.join(near)}?" if near else f"; commands: {', '.join(known)}"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for text in value if isinstance(text, str)] if isinstance(value, tuple | list) else []
