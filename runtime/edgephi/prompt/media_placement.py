"""Places the images and audio of a request in its conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgephi.base.errors import ConfigError
from edgephi.prompt.messages import Item, MediaKind, MediaRef, Message
from edgephi.sources.source import ImageSource

if TYPE_CHECKING:
    from edgephi.audio.features import AudioInput


def place_media(
    messages: Sequence[Message], *, images: Sequence[ImageSource], audio: Sequence[AudioInput]
) -> tuple[Message, ...]:
    """Give every media reference its media; media without any reference go before the last user turn's text.

    Raises:
        ConfigError: The references and the media do not pair up. The message has both numbers.
    """
    given: dict[MediaKind, Sequence[ImageSource | AudioInput]] = {"image": images, "audio": audio}
    check_media_lists(images, audio)
    if not any(isinstance(item, MediaRef) for message in messages for item in message.items):
        messages = _lead_last_user_turn(messages, len(images), len(audio))
    resolved = _Placement(given)
    placed = tuple(replace(message, items=tuple(map(resolved.resolve, message.items))) for message in messages)
    resolved.check()
    return placed


def check_media_lists(images: object, audio: object) -> None:
    """Refuse an image or audio where a list or tuple of them belongs.

    Raises:
        ConfigError: It names the argument and what was given.
    """
    for name, media in (("images", images), ("audio", audio)):
        if not isinstance(media, list | tuple):
            raise ConfigError(f"{name} must be a list or a tuple; put the {type(media).__name__} in brackets")
    if isinstance(audio, tuple) and len(audio) == 2 and isinstance(audio[0], np.ndarray):
        raise ConfigError("audio must be a list; put the one in brackets: audio=[(samples, hertz)]")


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

    def __init__(self, given: dict[MediaKind, Sequence[ImageSource | AudioInput]]) -> None:
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
            what = "images" if kind == "image" else "audio"
            if len(numbers) != num_given:
                raise ConfigError(
                    f"the messages have places for {len(numbers)} {what} but {num_given} were given; "
                    f"use each of <|{kind}_1|> ... <|{kind}_N|> once, or no tags at all"
                )
            if sorted(numbers) != list(range(1, num_given + 1)):
                tags = ", ".join(f"<|{kind}_{number}|>" for number in numbers)
                raise ConfigError(f"{num_given} {what} were given but the tags are {tags}; use each number once from 1")
