"""A model's chat template, in the dialect of Jinja that Hugging Face's tools read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError


class ChatTemplate:
    """A compiled template.

    Args:
        source: Its text.
        where: Its path, for messages.
        names: Variables of every rendering, such as `bos_token`.

    Attributes:
        source: Its text.
        reads_tools: It has a variable for tools.
        reads_calls: It writes an assistant's calls itself.
        reads_strings: It shows a content that is a string.
        reads_parts: It shows a content that is a list of parts.

    Raises:
        ArtifactError: It does not compile.
    """

    def __init__(self, source: str, where: str, names: Mapping[str, str]) -> None:
        self._where = where
        self._names = dict(names)
        environment = _environment()
        try:
            variables = meta.find_undeclared_variables(environment.parse(source))
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{where}: not a usable chat template ({reason})") from error
        self.reads_tools = "tools" in variables
        self.reads_calls = "tool_calls" in source
        self.source = source
        self.reads_strings, self.reads_parts = self._reads("one"), self._reads([{"type": "text", "text": "one"}])

    def render(
        self, turns: Sequence[Mapping[str, Any]], *, tools: object = None, is_open: bool, now: datetime | None = None
    ) -> str:
        """The conversation's text, as transformers renders it.

        Args:
            turns: Messages as the template reads them.
            tools: A list of tools as the template reads them; None without any.
            is_open: The assistant is to speak next.
            now: What `strftime_now` returns; None for the clock's time.

        Raises:
            ConfigError: The template refuses the conversation.
            ArtifactError: The template fails.
        """
        moment = now or datetime.now()
        try:
            return self._template.render(
                messages=turns,
                tools=tools,
                documents=None,
                add_generation_prompt=is_open,
                strftime_now=moment.strftime,
                **self._names,
            )
        except _RefusedError as error:
            raise ConfigError(f"the model's chat template refuses these messages: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # whatever a template's expressions raise
            raise ArtifactError(f"{self._where}: the chat template fails on these messages ({error})") from error

    def _reads(self, content: object) -> bool:
        """Whether a user's content is shown, and not merely written out as Python writes a list."""
        other = json.loads(json.dumps(content).replace("one", "two"))
        try:
            texts = [self.render([{"role": "user", "content": c}], is_open=True) for c in (content, other)]
        except EdgeError:
            return False
        return texts[0] != texts[1] and "'type'" not in texts[0]


def check_template(source: str, where: str, names: Mapping[str, str]) -> None:
    """Refuse a template that could not make prompts: two user turns of different words must render differently.

    Raises:
        ArtifactError: It does not compile, fails on a user's turn, or leaves out what the user says.
    """
    template = ChatTemplate(source, where, names)
    if template.reads_strings or template.reads_parts:
        return
    try:
        template.render([{"role": "user", "content": "one"}], is_open=True)
    except ConfigError as error:
        raise ArtifactError(f"{where}: the chat template refuses a single user's turn ({error})") from error
    raise ArtifactError(f"{where}: the chat template leaves out what a user says, so it can make no prompt")


class _RefusedError(Exception):
    """The template called `raise_exception`."""


class _GenerationBlocks(Extension):
    """`{% generation %}...{% endgeneration %}` marks an assistant's words for training; it changes no text."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)  # names set in the block end with it, as in the reference


class _Environment(ImmutableSandboxedEnvironment):
    """Raises what a rendering raised as it is.

    The traceback that jinja2 makes for it refers to itself, so what all callers hold, such as a model that was closed,
    would stay in memory until the garbage collector runs.
    """

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Called while an exception is handled; `source` is a template that does not compile."""
        if source is not None:
            super().handle_exception(source)
        raise  # noqa: PLE0704 - the caller's exception


def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    # `strftime_now` is given to each rendering.
    environment.filters["tojson"] = _to_json
    return environment


def _refuse(message: str) -> str:
    raise _RefusedError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter of this name escapes HTML; the reference's does not."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
