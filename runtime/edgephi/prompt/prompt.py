"""From messages and media to token ids, one slot token per image or audio input."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.manifest import TokenInfo
from edgephi.prompt.chat_template import ChatTemplate
from edgephi.prompt.message_tools import ToolList
from edgephi.prompt.messages import MediaKind, MediaRef, Message
from edgephi.prompt.provenance import Change, Rendering, render_apart, unused_characters
from edgephi.prompt.routing import AdapterChoice, missing_modality
from edgephi.prompt.template_view import TemplateView, all_text, place_tools
from edgephi.prompt.tokenizer import ControlToken, Tokenizer
from edgephi.sources.source import ImageSource

if TYPE_CHECKING:
    from edgephi.audio.features import AudioInput
    from edgephi.images.features import ImageInput


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's token ids with its media in the order of their slots.

    Attributes:
        token_ids: int64 [P]. One slot id per image or audio input.
        images: Images in the order of their slots.
        audio: Audio inputs in the order of their slots.
        adapter: See Request.
        max_crops: See Request.
    """

    token_ids: NDArray[np.int64]
    images: tuple[ImageInput, ...] = ()
    audio: tuple[AudioInput, ...] = ()
    adapter: AdapterChoice = "auto"
    max_crops: int | None = None


class PromptBuilder:
    """Renders requests with one model's chat template.

    Args:
        tokenizer: Of the model.
        template: The text of `chat_template.jinja`.
        tokens: Ids with a meaning, from the manifest.
        where: Path of the template, for messages.
        names: Variables of the template beside those of the request, such as `bos_token`; None for those of `tokens`.

    Attributes:
        tokenizer: Of the model.

    Raises:
        ArtifactError: The template does not compile.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        tokens: TokenInfo,
        where: str,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._slots: dict[MediaKind, int | None] = {"image": tokens.image, "audio": tokens.audio}
        self._by_id = {token.id: token for token in tokenizer.control.values()}
        self._template = ChatTemplate(template, where, self._own_names(tokens) if names is None else names)

    def build(self, turns: Sequence[Message], tools: ToolList | None = None) -> Prompt:
        """The prompt of a request, ending where the assistant is to speak, or to go on if it spoke last.

        Args:
            turns: The messages, every image and audio input in its place.
            tools: That the assistant may call, if no system message has them.

        Raises:
            ConfigError: Messages that the template has no place for, or media that the model has no slot for.
        """
        with_tools, listed = place_tools(turns, tools, self._template)
        ids: list[int] = self.tokenizer.encode(self._render(with_tools, listed))
        media = [item for message in turns for item in message.items if isinstance(item, MediaRef)]
        return Prompt(
            np.array(ids, dtype=np.int64),
            cast("tuple[ImageSource, ...]", tuple(ref.payload for ref in media if ref.kind == "image")),
            cast("tuple[AudioInput, ...]", tuple(ref.payload for ref in media if ref.kind == "audio")),
        )

    def _own_names(self, tokens: TokenInfo) -> dict[str, str]:
        named = {"bos_token": tokens.bos, "eos_token": tokens.eos[0] if tokens.eos else None}
        return {name: self._by_id[n].content for name, n in named.items() if n is not None and n in self._by_id}

    def _render(self, messages: Sequence[Message], tools: ToolList | None) -> list[str | ControlToken]:
        """Text runs and control tokens of the whole conversation."""
        texts = "".join(map(all_text, messages))
        fresh = unused_characters(texts + self._template.source)
        view = TemplateView(self._template, messages, tools, fresh)
        now = datetime.now()

        def render(change: Change, probed: int | None = None) -> str:
            turns = view.turns(change, probed)
            return self._template.render(turns, tools=view.tools(change), is_open=view.is_open, now=now)

        rendering = render_apart(render, texts, self.tokenizer.control, fresh)
        plain = rendering.real(rendering.text)
        if any(_is_same(partial(render, str, number), plain) for number in view.perhaps_dropped(plain)):
            raise _dropped()
        return self._spliced(rendering, view)

    def _spliced(self, rendering: Rendering, view: TemplateView) -> list[str | ControlToken]:
        text, places = view.until_open(rendering.text), view.places
        if any(text.count(place) != 1 for place in places):
            raise _dropped()
        result: list[str | ControlToken] = []
        for piece in re.split(f"([{''.join(places)}])", text) if places else [text]:
            if piece in places:
                result.append(self._control(places[piece]))
                continue
            parts = self.tokenizer.split(piece)
            result += [rendering.real(part) if isinstance(part, str) else part for part in parts]
        return result

    def _control(self, item: str | MediaRef) -> ControlToken:
        if isinstance(item, str):
            if (token := self.tokenizer.control.get(item)) is None:
                raise ConfigError(f"this model has no {item} token, so its prompts cannot hold tool calls")
            return token
        slot = self._slots[item.kind]
        if slot is None or slot not in self._by_id:
            raise missing_modality("vision" if item.kind == "image" else "speech")
        return self._by_id[slot]


def media_slots(prompt: Prompt, tokens: TokenInfo) -> list[int]:
    """Positions in `prompt.token_ids` of the images' slots, then of the audio inputs'.

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


def _is_same(render: Callable[[], str], text: str) -> bool:
    """Whether a changed conversation reads the same, because what was changed is left out."""
    try:
        return render() == text
    except EdgeError:  # the template looks at what was changed
        return False


def _dropped() -> ConfigError:
    return ConfigError(
        "the model's chat template drops or repeats a part of these messages; it has no place for all of them"
    )
