"""A conversation in the terminal: its turns, and the media that wait for the next message.

A turn is kept once it is answered, so a request that failed leaves everything as it was.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgephi.base.errors import ConfigError
from edgephi.base.output_file import check_output_file, reason, staged_file
from edgephi.cli.adapter_notes import Kind, adapter_note
from edgephi.prompt.system_turn import with_system

if TYPE_CHECKING:
    from edgephi.bundle.manifest import Manifest
    from edgephi.generation.reply import Reply
    from edgephi.generation.tool_calls import ToolCall

Role = Literal["user", "tool"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or audio. `data` is the file's bytes as they were when it was attached: later turns send them again."""

    kind: Kind
    path: str
    data: bytes
    notes: tuple[str, ...] = ()  # what should be known of the file


Part = Callable[[Attachment], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and what was answered, which may have been stopped. A tool's message is what a function gave back."""

    text: str
    attachments: tuple[Attachment, ...]
    answer: str
    role: Role = "user"
    calls: tuple[ToolCall, ...] = ()

    def messages(self, part: Part) -> list[dict[str, Any]]:
        """Both, as a request takes them."""
        if not self.calls:
            return [
                _message(self.role, self.text, self.attachments, part),
                {"role": "assistant", "content": self.answer},
            ]
        calls = [{"name": call.name, "arguments": call.arguments} for call in self.calls]
        return [
            _message(self.role, self.text, self.attachments, part),
            {"role": "assistant", "content": None, "tool_calls": calls},
        ]


class Conversation:
    """The turns so far.

    Args:
        manifest: Of the model that will answer.
        system: Text of the system turn; None for none.
        tools: Offered in the system turn; None for none.
    """

    def __init__(
        self, manifest: Manifest, system: str | None = None, tools: list[dict[str, Any]] | None = None
    ) -> None:
        self._manifest = manifest
        self._tools = tools
        self.system = system
        self.turns: list[Turn] = []
        self.waiting: list[Attachment] = []

    def attach(self, kind: Kind, path: str) -> Attachment:
        """Check an image or audio and keep it for the next message.

        Raises:
            ConfigError: The file cannot be used, or the model takes in none of its kind.
        """
        from edgephi.audio.decoding import load_audio
        from edgephi.images.decoding import load_image
        from edgephi.prompt.routing import choose_route

        kinds = [item.kind for item in self._attachments()] + [kind]
        choose_route(self._manifest, num_images=kinds.count("image"), num_audio=kinds.count("audio"))
        path = as_path(path)
        notes: tuple[str, ...] = ()
        if kind == "image":
            load_image(path)
        else:
            notes = load_audio(path).notes
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
        attachment = Attachment(kind, path, data, notes)
        self.waiting.append(attachment)
        return attachment

    def messages(self, text: str, role: Role = "user") -> list[dict[str, Any]]:
        """The whole conversation with `text` and what waits as its next message."""
        return [*self._answered(as_sent), _message(role, text, self._sent_with(role), as_sent)]

    def keep(self, text: str, reply: Reply, role: Role = "user") -> None:
        """The message was answered; nothing waits any more."""
        calls = reply.tool_calls if all(call.error is None for call in reply.tool_calls) else ()
        self.turns.append(Turn(text, tuple(self._sent_with(role)), reply.text, role, calls))
        if role == "user":
            self.waiting = []

    def adapter_note(self, text: str) -> str | None:
        """The note on the adapter before this message is answered with what waits."""
        before = [item.kind for turn in self.turns for item in turn.attachments]
        return adapter_note(self._manifest, text, before, [item.kind for item in self.waiting])

    def check_result(self, text: str) -> None:
        """Raises ConfigError if there is no call that `text` could be the result of."""
        if not self.turns or not self.turns[-1].calls:
            raise ConfigError("the model has called no function; /result answers a call, and --tools offers functions")
        if not text:
            raise ConfigError("/result needs what the function gave back")

    def undo(self) -> bool:
        """Remove the last turn; whether there was one."""
        return bool(self.turns and self.turns.pop())

    def reset(self) -> None:
        """Remove every turn and what waits. The system text stays."""
        self.turns, self.waiting = [], []

    def save(self, path: str) -> None:
        """Write the conversation as messages in JSON, media as paths.

        Raises:
            ConfigError: The file exists or cannot be written.
        """
        text = json.dumps(self._answered(as_saved), ensure_ascii=False, indent=1) + "\n"
        path = os.path.expanduser(path)
        if os.path.isfile(path):
            raise ConfigError(f"{path}: exists already; give another name")
        check_output_file(Path(path))
        try:
            with staged_file(Path(path)) as stream:
                stream.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({reason(error)}); give another path") from None

    def _attachments(self) -> list[Attachment]:
        return [item for turn in self.turns for item in turn.attachments] + self.waiting

    def _sent_with(self, role: Role) -> list[Attachment]:
        return self.waiting if role == "user" else []

    def _answered(self, part: Part) -> list[dict[str, Any]]:
        """The system turn and every turn so far."""
        return with_system(
            [message for turn in self.turns for message in turn.messages(part)], self.system, self._tools
        )


def as_sent(attachment: Attachment) -> dict[str, Any]:
    """The part of a message that the model gets."""
    return {"type": attachment.kind, attachment.kind: attachment.data}


def as_saved(attachment: Attachment) -> dict[str, Any]:
    """The part of a message that a file gets; it can be sent as well."""
    return {"type": attachment.kind, attachment.kind: os.path.abspath(attachment.path)}


def as_path(text: str) -> str:
    """The path that was typed, or dropped onto the terminal, which then quotes it; `~` is the home folder."""
    if os.path.exists(text):
        return text
    try:
        words = shlex.split(text)
    except ValueError:  # a quote without its other half
        words = []
    return os.path.expanduser(words[0] if len(words) == 1 else text)


def _message(role: Role, text: str, attachments: Sequence[Attachment], part: Part) -> dict[str, Any]:
    if not attachments:
        return {"role": role, "content": text}
    texts = [{"type": "text", "text": text}] if text else []
    return {"role": role, "content": [*map(part, attachments), *texts]}
