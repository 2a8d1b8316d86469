"""`edgephi chat`: a conversation in the terminal."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.base.units import human_bytes
from edgephi.console import interruption
from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.options import ModelSource, model_options, quiet_option
from edgephi.console.packing import decorated_with
from edgephi.console.progress import ProgressLine
from edgephi.console.report import error_line, note_line, one_line, shown, timing_line
from edgephi.console.sampling_options import Sampling, sampling_options
from edgephi.console.tools_file import read_tools_file, tools_option

if TYPE_CHECKING:
    from edgephi.cli.adapter_notes import Kind
    from edgephi.cli.conversation import Conversation, Role
    from edgephi.cli.line_reader import LineReader
    from edgephi.generation.options import SamplingOptions
    from edgephi.generation.reply import Event, Reply
    from edgephi.model import Model

_COMMANDS = {
    "/image": "FILE   attach an image to the next message",
    "/audio": "FILE   attach audio to the next message; an empty message sends what is attached",
    "/result": "TEXT  answer what the model called a function for",
    "/system": "TEXT  set the system turn; without TEXT, remove it",
    "/undo": "       remove the last message and its answer",
    "/reset": "      remove the conversation; the system turn stays",
    "/save": "FILE    write the conversation as JSON",
    "/help": "       this list",
    "/exit": "       leave; so do Ctrl-D, and Ctrl-C twice",
}
#: A path such as /etc/hosts at the start of a message is no command.
_COMMAND = re.compile(r"(/[a-z]+)(?:\s+(.*))?", re.DOTALL)


_chat_options = decorated_with(
    *in_group(
        "Prompt",
        [
            click.option("--system", metavar="TEXT", help='Text of the system turn, such as "Answer in French."'),
            tools_option,
        ],
    )
)
_output_options = decorated_with(
    *in_group(
        "Output",
        [click.option("--verbose", is_flag=True, help="Show the timing after each answer."), quiet_option],
    )
)


@click.command(cls=ModelCommand)
@model_options
@_chat_options
@sampling_options
@_output_options
def chat(
    source: ModelSource,
    system: str | None,
    tools_file: str | None,
    verbose: bool,
    quiet: bool,
    sampling: Sampling,
) -> None:
    """Talk with the model folder MODEL. Lines from a pipe are messages, answered one after the other.

    \b
    /image FILE   attach an image to the next message
    /audio FILE   attach audio to the next message
    /result TEXT  what a function that the model called gave back (--tools)
    /help         lists the other commands
    Ctrl-C        stops the answer; what was answered stays in the conversation
    Ctrl-D        leaves

    A line that starts with // is sent with one slash; one that ends in \\ goes on in the next line.

    \b
    Examples:
      edgephi chat phi4mm
      edgephi chat phi4mm --system "Be brief." --temperature 0.7
      edgephi chat phi4mm --tools home.json
      edgephi chat phi4mm --max-context 4096 --cache-bytes 512MB
      echo "Why is the sky blue?" | edgephi chat phi4mm
      printf '/image sign.png\\nWhat does it say?\\n' | edgephi chat phi4mm
    """
    from edgephi.cli.conversation import Conversation
    from edgephi.cli.line_reader import LineReader

    sampling.check()
    tools = None if tools_file is None else read_tools_file(tools_file)
    lines = LineReader((*_COMMANDS,))
    with ProgressLine(f"loading {one_line(source.model)}", quiet=quiet) as progress, source.load() as model:
        progress.clear()
        options = sampling.options()
        session = _Session(
            model,
            Conversation(model.manifest, system, tools),
            options,
            display=_Display(progress, interactive=lines.is_interactive, verbose=verbose, quiet=quiet),
        )
        if lines.is_interactive:
            takes = ", ".join(model.manifest.modalities)
            click.echo(f"takes in {takes} · /help lists commands · Ctrl-D leaves", err=True)
            _talk(session, lines)
        else:
            _answer_all(session, lines)
        interruption.deliver()


def _talk(session: _Session, lines: LineReader) -> None:
    """With a person: what goes wrong is said, and the conversation goes on."""
    presses = 0
    while presses < 2:
        try:
            line = lines.read()
            presses = 0
            if line is None or not session.take(line):
                return
        except KeyboardInterrupt:
            if interruption.received() not in (None, signal.SIGINT):
                raise
            interruption.clear()
            presses += 1
            click.echo("\n(Ctrl-C once more, or Ctrl-D, leaves)" if presses == 1 else "", err=True)
        except EdgeError as error:
            click.echo(error_line(error), err=True)
            if isinstance(error, CapacityError) and session.conversation.turns:
                click.echo("(the message was not kept; /undo removes the last turn, /reset all of them)", err=True)
        except MemoryError:
            click.echo("error: not enough free memory; the message was not kept; /reset removes the rest", err=True)


def _answer_all(session: _Session, lines: LineReader) -> None:
    """From a pipe: the first failure ends it, with its exit code."""
    while (line := lines.read()) is not None:
        if not session.take(line):
            return
    if session.conversation.waiting:
        session.say("")


@dataclass(frozen=True, slots=True)
class _Display:
    """The output beside the answers, and whether a person is there."""

    progress: ProgressLine
    interactive: bool
    verbose: bool
    quiet: bool


class _Session:
    """A conversation with a model, and the commands that act on it."""

    def __init__(self, model: Model, conversation: Conversation, options: SamplingOptions, display: _Display) -> None:
        self.conversation = conversation
        self._model = model
        self._options = options
        self._display = display

    def take(self, line: str) -> bool:
        """A message or a command; whether there is more to come.

        Raises:
            EdgeError: It cannot be done or answered. The conversation is as it was.
        """
        text = line.strip()
        command = _COMMAND.fullmatch(text)
        if command is not None:
            return self._obey(command[1], (command[2] or "").strip())
        if text or self.conversation.waiting:
            self.say(text[1:] if text.startswith("//") else text)
        return True

    def say(self, text: str, role: Role = "user") -> None:
        """Send a message and show its answer as it comes; both are kept once there is something of it."""
        if not self._display.quiet and (note := self.conversation.adapter_note(text)) is not None:
            click.echo(note, err=True)
        with self._stoppable() as should_stop:
            reply = self._stream(text, role, should_stop)
            if reply.finish_reason == "cancelled" and not reply.text:
                waits = "; what was attached still waits" if self.conversation.waiting else ""
                click.echo(f"(stopped before an answer; the message was not kept{waits})", err=True)
                return
            self.conversation.keep(text, reply, role)
            self._remark(reply)

    def _stream(self, text: str, role: Role, should_stop: Callable[[], bool]) -> Reply:
        from edgephi.generation.outcome import reply_of
        from edgephi.generation.reply import DoneEvent, TextEvent, ToolCallEvent

        progress, wrote = self._display.progress, False

        def write(event: Event) -> None:
            nonlocal wrote
            progress.clear()
            if isinstance(event, TextEvent | ToolCallEvent):
                with interruption.may_stick():
                    click.echo(shown(event.text), nl=False)
            wrote = wrote or isinstance(event, TextEvent | ToolCallEvent | DoneEvent)  # an empty answer is a line too

        try:
            messages = self.conversation.messages(text, role)
            events = self._model.stream(
                messages, options=self._options, should_stop=should_stop, on_stage=progress.observe
            )
            return reply_of(events, write)
        finally:
            progress.clear()
            if wrote:
                click.echo()

    @contextmanager
    def _stoppable(self) -> Iterator[Callable[[], bool]]:
        """A signal turns the yielded answer to True; with a person, Ctrl-C then no longer ends the program."""
        with interruption.noted() as should_stop:
            try:
                yield should_stop
            finally:
                if self._display.interactive and interruption.received() == signal.SIGINT:
                    interruption.clear()
        interruption.deliver()

    def _remark(self, reply: Reply) -> None:
        if self._display.quiet:
            return
        if names := ", ".join(one_line(call.name) for call in reply.tool_calls if call.error is None):
            click.echo(f"(calls {names}; /result TEXT answers it)", err=True)
        if reply.finish_reason == "cancelled":
            click.echo("(stopped; what was answered stays in the conversation)", err=True)
        elif reply.finish_reason == "length" and reply.timing.new_tokens < self._options.max_new_tokens:
            click.echo("note: the model's context is full; /reset starts a new conversation", err=True)
        elif reply.finish_reason == "length":
            click.echo("note: the answer was cut; raise --max-new-tokens for more", err=True)
        if self._display.verbose:
            click.echo(timing_line(reply), err=True)

    def _obey(self, command: str, argument: str) -> bool:
        if command in ("/exit", "/quit"):
            return False
        if command not in _COMMANDS:
            raise ConfigError(f"{command} is not a command; /help lists them, // sends a line that starts with /")
        if command in ("/image", "/audio", "/save") and not argument:
            raise ConfigError(f"{command} needs the path of a file")
        if command == "/result":
            self.conversation.check_result(argument)
            self.say(argument, "tool")
            return True
        if command in ("/image", "/audio"):
            self._attach("image" if command == "/image" else "audio", argument)
        elif command == "/help":
            click.echo("\n".join(f"{name} {meaning}" for name, meaning in _COMMANDS.items()), err=True)
        else:
            click.echo(f"({self._change(command, argument)})", err=True)
        return True

    def _attach(self, kind: Kind, path: str) -> None:
        item = self.conversation.attach(kind, path)
        for note in item.notes:
            click.echo(note_line(note), err=True)
        size = human_bytes(len(item.data))
        click.echo(f"(attached to the next message: {one_line(item.path)}, {size})", err=True)

    def _change(self, command: str, argument: str) -> str:
        """Do what a command asks of the conversation; what to say about it."""
        conversation = self.conversation
        if command == "/system":
            conversation.system = argument or None
            return "the system turn is set" if argument else "there is no system turn"
        if command == "/undo":
            return "the last turn is removed" if conversation.undo() else "there is no turn to remove"
        if command == "/reset":
            conversation.reset()
            return "a new conversation"
        conversation.save(argument)
        return f"written to {one_line(argument)}"
