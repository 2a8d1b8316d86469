"""From messages and media to the token ids the model reads, one slot token per picture or clip.

Owns the chat template, the placing of media and the guarantee that nobody's text becomes a control token. Knows
nothing about what the media contain or how many rows they become.

Every string given by a user is rendered as a private-use mark, so the template's own tokens and the user's text never
mix: the template is cut at the marks, its control tokens are looked up, and user text is encoded as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jinja2
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray

from edgephi.errors import ArtifactError, ConfigError
from edgephi.manifest import TokenInfo
from edgephi.messages import Item, Marker, MediaKind, MediaRef, Message, Messages, read_messages
from edgephi.mode import missing_modality
from edgephi.tokenizer import ControlToken, Tokenizer

_MARK = re.compile("\ue000([0-9]+)\ue001")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model will read.

    Attributes:
        token_ids: int64 [P]. One slot id per picture or clip.
        images: Pictures in the order of their slots.
        audio: Clips in the order of their slots.
    """

    token_ids: NDArray[np.int64]
    images: tuple[Any, ...]
    audio: tuple[Any, ...]


class PromptBuilder:
    """Renders requests with one model's chat template.

    Args:
        tokenizer: Of the model.
        template: The text of `chat_template.jinja`.
        tokens: Ids with a meaning, from the manifest.
        where: Path of the template, for messages.

    Raises:
        ArtifactError: The template does not compile.
    """

    def __init__(self, tokenizer: Tokenizer, template: str, tokens: TokenInfo, where: str) -> None:
        self._tokenizer = tokenizer
        self._where = where
        self._slots: dict[MediaKind, int | None] = {"image": tokens.image, "audio": tokens.audio}
        spelling = {token.id: token.content for token in tokenizer.control.values()}
        self._names = {
            "bos_token": spelling.get(tokens.bos, "") if tokens.bos is not None else "",
            "eos_token": spelling.get(tokens.eos[0], "") if tokens.eos else "",
        }
        try:
            self._template = _environment().from_string(template)
        except jinja2.TemplateError as error:
            raise ArtifactError(f"{where}: not a usable chat template ({error})") from error

    def build(self, messages: Messages, *, images: Sequence[Any] = (), audio: Sequence[Any] = ()) -> Prompt:
        """The prompt of a request, ending where the assistant is to speak.

        Args:
            messages: See messages.py.
            images: Pictures given beside the messages; without tags or parts they go to the start of the last user
                turn, before the audio.
            audio: Clips, likewise.

        Raises:
            ConfigError: A message that cannot be used; more media than tags or the reverse; media that the model
                has no slot for.
        """
        placed = place_media(read_messages(messages), images=images, audio=audio)
        ids: list[int] = self._tokenizer.encode(self._render(placed))
        media = [item for message in placed for item in message.items if isinstance(item, MediaRef)]
        return Prompt(
            np.array(ids, dtype=np.int64),
            tuple(ref.payload for ref in media if ref.kind == "image"),
            tuple(ref.payload for ref in media if ref.kind == "audio"),
        )

    def _render(self, messages: Sequence[Message]) -> list[str | ControlToken]:
        """Text runs and control tokens of the whole conversation, user text untouched."""
        given: list[tuple[Item, ...]] = []

        def mark(items: tuple[Item, ...]) -> str:
            # An empty string stays empty: templates test for it.
            if not any(items):
                return ""
            given.append(items)
            return f"\ue000{len(given) - 1}\ue001"

        turns = []
        for message in messages:
            turn = {"role": message.role, "content": mark(message.items)}
            if message.tools is not None:
                turn["tools"] = mark((message.tools,))
            turns.append(turn)
        try:
            text = self._template.render(messages=turns, add_generation_prompt=True, **self._names)
        except _RefusedError as error:
            raise ConfigError(f"the model's chat template refuses these messages: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # whatever a template's expressions raise
            raise ArtifactError(f"{self._where}: the chat template fails on these messages ({error})") from error
        return self._splice(text, given)

    def _splice(self, text: str, given: Sequence[tuple[Item, ...]]) -> list[str | ControlToken]:
        pieces = _MARK.split(text)
        if sorted(map(int, pieces[1::2])) != list(range(len(given))):
            raise ConfigError(
                "the model's chat template drops or repeats a part of these messages; it has no place for all of them"
            )
        result: list[str | ControlToken] = []
        for position, piece in enumerate(pieces):
            if position % 2 == 0:
                result += self._tokenizer.split(piece)
            else:
                result += [item if isinstance(item, str) else self._control(item) for item in given[int(piece)]]
        return result

    def _control(self, item: Marker | MediaRef) -> ControlToken:
        if isinstance(item, Marker):
            if (token := self._tokenizer.control.get(item.content)) is None:
                raise ConfigError(f"this model has no {item.content} token, so its prompts cannot hold tool calls")
            return token
        slot = self._slots[item.kind]
        for token in self._tokenizer.control.values():
            if token.id == slot:
                return token
        raise missing_modality("vision" if item.kind == "image" else "speech")


def place_media(messages: Sequence[Message], *, images: Sequence[Any], audio: Sequence[Any]) -> tuple[Message, ...]:
    """Give every media reference its media; media without any reference go before the last user turn's text.

    Raises:
        ConfigError: The references and the media do not pair up. The message has both numbers.
    """
    given: dict[MediaKind, Sequence[Any]] = {"image": images, "audio": audio}
    check_media_lists(images, audio)
    if not any(isinstance(item, MediaRef) for message in messages for item in message.items):
        messages = _lead_last_user_turn(messages, len(images), len(audio))
    resolved = _Placement(given)
    placed = tuple(replace(message, items=tuple(map(resolved.resolve, message.items))) for message in messages)
    resolved.check()
    return placed


def media_slots(prompt: Prompt, tokens: TokenInfo) -> list[int]:
    """Positions in `prompt.token_ids` of the pictures' slots, then of the clips'.

    Raises:
        ConfigError: Their number is not that of the media. The message has both.
    """
    slots: list[int] = []
    for kind, token_id, media in (("image", tokens.image, prompt.images), ("audio", tokens.audio, prompt.audio)):
        found = np.flatnonzero(prompt.token_ids == token_id).tolist() if token_id is not None else []
        if len(found) != len(media):
            raise ConfigError(
                f"the prompt has {len(found)} {kind} tokens but {len(media)} were given; they must pair up"
            )
        slots += found
    return slots


def check_media_lists(images: object, audio: object) -> None:
    """Refuse a picture or a clip where a list or tuple of them belongs.

    Raises:
        ConfigError: It names the argument and what was given.
    """
    for name, media in (("images", images), ("audio", audio)):
        if not isinstance(media, list | tuple):
            raise ConfigError(f"{name} must be a list or a tuple; put the {type(media).__name__} in brackets")
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[0], np.ndarray):
        raise ConfigError("audio must be a list of clips; put the one in brackets: audio=[(samples, hertz)]")


def _lead_last_user_turn(messages: Sequence[Message], num_images: int, num_audio: int) -> Sequence[Message]:
    refs = [MediaRef("image", i + 1) for i in range(num_images)] + [MediaRef("audio", i + 1) for i in range(num_audio)]
    if not refs:
        return messages
    users = [i for i, message in enumerate(messages) if message.role == "user"]
    if not users:
        raise ConfigError("images and audio need a user message to stand in; there is none")
    last = users[-1]
    turn = replace(messages[last], items=(*refs, *messages[last].items))
    return [*messages[:last], turn, *messages[last + 1 :]]


class _Placement:
    """Hands out the given media and remembers what was asked for."""

    def __init__(self, given: dict[MediaKind, Sequence[Any]]) -> None:
        self._given = given
        self._numbers: dict[MediaKind, list[int]] = {"image": [], "audio": []}

    def resolve(self, item: Item) -> Item:
        if not isinstance(item, MediaRef) or item.payload is not None:
            return item
        numbers, media = self._numbers[item.kind], self._given[item.kind]
        number = item.number if item.number is not None else len(numbers) + 1
        numbers.append(number)
        return replace(item, payload=media[number - 1]) if 1 <= number <= len(media) else item

    def check(self) -> None:
        for kind, numbers in self._numbers.items():
            num_given = len(self._given[kind])
            what = "images" if kind == "image" else "audio clips"
            if len(numbers) != num_given:
                raise ConfigError(
                    f"the messages have places for {len(numbers)} {what} but {num_given} were given; "
                    f"use each of <|{kind}_1|> ... <|{kind}_N|> once, or no tags at all"
                )
            if sorted(numbers) != list(range(1, num_given + 1)):
                tags = ", ".join(f"<|{kind}_{number}|>" for number in numbers)
                raise ConfigError(f"{num_given} {what} were given but the tags are {tags}; use each number once from 1")


class _RefusedError(Exception):
    """The template called `raise_exception`."""


def _environment() -> ImmutableSandboxedEnvironment:
    """The same dialect of Jinja that chat templates are written for in Hugging Face's tools."""

    def raise_exception(message: str) -> str:
        raise _RefusedError(message)

    def tojson(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.filters["tojson"] = tojson
    return environment
