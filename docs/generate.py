"""Writes `docs/cli.md` and `docs/api.md` from the commands' help and the docstrings.

Run it from the project's root: `make docs`
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

import edgephi
from edgephi.cli.main import main

_WIDTH = 100
_DOCS = Path(__file__).parent
_GROUPS = {
    "The model": ("Model", "AsyncModel", "ModelOptions"),
    "Requests": ("Request", "SamplingOptions", "JsonSchema", "Regex", "Grammar"),
    "Prepared requests": ("PreparedRequest", "RequestCost", "ImageCost", "AudioCost"),
    "Replies": ("Reply", "ToolCall", "Timing", "Choice"),
    "Events of a stream": ("Event", "TokenEvent", "TextEvent", "ToolCallEvent", "DoneEvent", "Stage"),
    "Transcripts": ("Transcript", "Segment", "TranscriptProgress", "WindowRules"),
    "Errors": ("EdgeError", "ConfigError", "ArtifactError", "CapacityError"),
    "Version": ("__version__",),
}
#: Sections of a docstring whose entries are `name: text`.
_LISTS = ("Args", "Attributes", "Raises")


class _Text:
    """What a signature shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def cli_page() -> str:
    """The help of every command."""
    parts = ["# The commands\n\nWhat `--help` shows. Made by `make docs`.\n"]
    contexts = _contexts(_context(main, "edgephi"))
    parts += [f"## {one.command_path}\n\n```text\n{click.unstyle(one.get_help()).rstrip()}\n```\n" for one in contexts]
    return "\n".join(parts)


def api_page() -> str:
    """Every public name of the package `edgephi`.

    Raises:
        ValueError: A name is in no group, or in a group and not public.
    """
    listed = [name for names in _GROUPS.values() for name in names]
    if sorted(listed) != sorted(edgephi.__all__):
        raise ValueError(f"the groups and edgephi.__all__ differ: {sorted({*listed} ^ {*edgephi.__all__})}")
    parts = ["# The library\n\nEvery public name of `edgephi`. Made by `make docs`.\n"]
    for title, names in _GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_described(name, getattr(edgephi, name)) for name in names]
    return "\n".join(parts)


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """A command and those below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _contexts(_context(command, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """As the command itself makes it, with its settings."""
    settings = {**command.context_settings, "terminal_width": _WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _described(name: str, value: object) -> str:
    if isinstance(value, str):
        return f"### {name}\n\nThe version of the package.\n"
    if not isinstance(value, type):
        kinds = " | ".join(kind.__name__ for kind in get_args(value))
        return f"### {name}\n\n{_code(f'{name} = {kinds}')}"
    parts = [f"### {name}\n", _code(f"class {name}{_bases(value)}{_signature(value)}"), _docstring(value)]
    for member, function in _members(value):
        if isinstance(function, property):
            parts += [f"#### {name}.{member}\n", _docstring(function)]
        else:
            parts += [f"#### {name}.{member}\n", _code(f"{member}{_signature(function)}"), _docstring(function)]
    return "\n".join(parts)


def _bases(kind: type) -> str:
    """The public classes that a caller may catch instead; a class with fields shows those in their place."""
    names = [base.__name__ for base in kind.__bases__ if base.__name__ in edgephi.__all__]
    return f"({', '.join(names)})" if names and not _signature(kind) else ""


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties, those of base classes of edgephi included, in the order of the source."""
    seen = set[str]()
    for base in kind.__mro__:
        if not base.__module__.startswith("edgephi"):
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            if not name.startswith("_") and name not in seen and (inspect.isfunction(function) or _is_property(value)):
                seen.add(name)
                yield name, value if _is_property(value) else getattr(kind, name)


def _is_property(value: object) -> bool:
    return isinstance(value, property)


def _signature(value: object) -> str:
    """The arguments, with annotations as they are written; nothing for what is made by the package alone."""
    if isinstance(value, type) and not (dataclasses.is_dataclass(value) or "__init__" in vars(value)):
        return ""
    if not callable(value):
        return ""
    signature = inspect.signature(value)
    shown = [
        one.replace(annotation=_written(one.annotation), default=_default(one.default))
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    result = inspect.Signature.empty if isinstance(value, type) else _written(signature.return_annotation)
    text = str(signature.replace(parameters=shown, return_annotation=result))
    return text if len(text) < _WIDTH else _over_lines(shown, result)


def _over_lines(shown: list[inspect.Parameter], result: object) -> str:
    """One argument a line."""
    lines = [f"    {one}," for one in shown]
    first = next((n for n, one in enumerate(shown) if one.kind is inspect.Parameter.KEYWORD_ONLY), None)
    if first is not None and not any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in shown):
        lines.insert(first, "    *,")
    arrow = "" if result is inspect.Signature.empty else f" -> {result}"
    return "\n".join(["(", *lines, f"){arrow}"])


def _written(annotation: object) -> object:
    """An annotation as the source has it, without the quotes of a string."""
    return _Text(annotation) if isinstance(annotation, str) else annotation


def _default(value: object) -> object:
    """A function by its name: its address is another each time."""
    return _Text(value.__name__) if inspect.isfunction(value) else value


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _docstring(value: object) -> str:
    """Its paragraphs as they are, its sections as lists."""
    parts = re.split(r"^(Args|Attributes|Returns|Raises):\n", inspect.getdoc(value) or "", flags=re.MULTILINE)
    pages = [parts[0].strip()]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        entries = _entries(textwrap.dedent(body).strip())
        if title in _LISTS:
            entries = [_named(entry) for entry in entries]
            pages.append(f"{title}:\n\n" + "\n".join(f"- {entry}" for entry in entries))
        else:
            pages.append(f"{title}: {' '.join(entries)}")
    return "\n\n".join(pages) + "\n"


def _entries(body: str) -> list[str]:
    """One line an entry: what is indented goes on with the entry above."""
    return [re.sub(r"\s*\n\s+", " ", entry) for entry in re.split(r"\n(?=\S)", body)]


def _named(entry: str) -> str:
    name, colon, text = entry.partition(": ")
    if not colon:
        raise ValueError(f"the entry {entry!r} of a docstring is not `name: text`")
    return f"`{name}`: {text}"


if __name__ == "__main__":
    (_DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    (_DOCS / "api.md").write_text(api_page(), encoding="utf-8")
