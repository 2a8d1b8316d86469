"""`Request`: one prompt with its media and tools, as a value that was checked when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack

from edgephi.audio.features import AudioInput
from edgephi.base.errors import ConfigError
from edgephi.base.numbers import is_whole
from edgephi.images.detail import Detail, check_detail, crop_limit
from edgephi.prompt.media_placement import check_media_lists, place_media
from edgephi.prompt.message_tools import Tools
from edgephi.prompt.messages import Message, Messages, read_messages
from edgephi.prompt.routing import AdapterChoice, check_adapter_choice
from edgephi.sources.source import ImageSource
from edgephi.tools.choice import ToolChoice, ToolUse, read_tool_use


class MediaFields(TypedDict, total=False):
    """The fields of `Request` that also go with a prompt given as token ids."""

    images: Sequence[ImageSource]
    audio: Sequence[AudioInput]
    adapter: AdapterChoice
    max_crops: int | None
    detail: Detail


class RequestFields(MediaFields, total=False):
    """The fields of `Request` beside the messages, which the requests of `Model` take as keywords."""

    tools: Tools | None
    tool_choice: ToolChoice | None
    tags: bool
    paths: bool


# Compared by identity: two requests with equal arrays are still two requests.
@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One prompt with its media and tools, and how it is routed. No file is opened until the request is served.

    Attributes:
        messages: A string is one user turn; otherwise messages of the OpenAI chat shape. If the last is the
            assistant's, the reply goes on with it. `<|image_1|>` and `<|audio_1|>` in a user's string place the media,
            which else go before the last user turn; in a conversation, keep each in a message of its own.
        images: Paths, bytes of files, open binary files, PIL images or uint8 arrays [H, W, 3].
        audio: Paths, bytes of files, open binary files, `(samples [n] or [n, channels], hertz)`, or the features that
            `Model.encode_ahead` returned for one of them.
        tools: Functions that the model may call, as OpenAI's list or its JSON text; the same as under `tools` in a
            system message.
        tool_choice: None holds the reply to nothing. `auto`: a call that the model opens is held to the tools;
            `none`: no tool is offered, and no call possible; `required`, or an object that names a function: the
            reply is calls and nothing else. All but `none` need the extra `constrain`.
        adapter: `auto` follows the model's rule; another value forces an adapter, for experiments.
        max_crops: Most crops of each image, 1 to the model's own number (None); fewer are faster and show less.
        detail: `low` reads each image as one crop and an overview, a fixed and small number of positions; `high` and
            `auto` leave the number of crops to the size of the image and to `max_crops`.
        tags: False takes `<|image_1|>` in a user's string for letters: for messages that come from outside.
        paths: False refuses paths in messages and takes `data:` addresses only, likewise.
        turns: The messages as they were read, every image and audio input in its place.
        tool_use: The tools of the request and of its messages.

    Raises:
        ConfigError: Messages or tools that cannot be used, media that do not pair up with their tags, or a field out of
            range.
    """

    messages: Messages
    images: Sequence[ImageSource] = field(default=(), kw_only=True)
    audio: Sequence[AudioInput] = field(default=(), kw_only=True)
    tools: Tools | None = field(default=None, kw_only=True)
    tool_choice: ToolChoice | None = field(default=None, kw_only=True)
    adapter: AdapterChoice = field(default="auto", kw_only=True)
    max_crops: int | None = field(default=None, kw_only=True)
    detail: Detail = field(default="auto", kw_only=True)
    tags: bool = field(default=True, kw_only=True)
    paths: bool = field(default=True, kw_only=True)
    turns: tuple[Message, ...] = field(init=False, repr=False)
    tool_use: ToolUse = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_media_lists(self.images, self.audio)
        check_adapter_choice(self.adapter)
        if self.max_crops is not None and not (is_whole(self.max_crops) and self.max_crops >= 1):
            raise ConfigError(f"max_crops is {self.max_crops!r}; use a whole number, 1 or more")
        check_detail(self.detail)
        use = read_tool_use(self.messages, self.tools, self.tool_choice)
        read = read_messages(use.messages, tags=self.tags, paths=self.paths)
        # A frozen dataclass sets what it derives in no other way.
        object.__setattr__(self, "images", tuple(self.images))
        object.__setattr__(self, "audio", tuple(self.audio))
        object.__setattr__(self, "tool_use", use)
        object.__setattr__(self, "turns", place_media(read, images=self.images, audio=self.audio))

    @property
    def crop_limit(self) -> int | None:
        """Most crops of each image by `detail` and `max_crops`; None for the model's own number."""
        return crop_limit(self.detail, self.max_crops)


def as_request(given: Messages | Request, **fields: Unpack[RequestFields]) -> Request:
    """The request of messages and keywords; keywords beside a Request replace its fields.

    Raises:
        ConfigError: As `Request`.
        TypeError: A keyword that is none of its fields.
    """
    if isinstance(given, Request):
        return replace(given, **fields) if fields else given
    return Request(given, **fields)
