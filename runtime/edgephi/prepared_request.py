"""`PreparedRequest`: a request whose prompt and media were read and checked, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgephi.audio.features import AudioFeatures
from edgephi.images.features import ImageFeatures
from edgephi.prompt.prompt import Prompt
from edgephi.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCost:
    """What an image costs.

    Attributes:
        columns: Crops side by side.
        rows: Crops one above the other.
        width: Pixels of the image as it is scaled into these crops.
        height: Likewise.
        tokens: Positions of the prompt.
    """

    columns: int
    rows: int
    width: int
    height: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioCost:
    """What an audio input costs.

    Attributes:
        duration_s: Its length, to a hundredth of a second.
        tokens: Positions of the prompt.
    """

    duration_s: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCost:
    """What a request costs before its first new token.

    Attributes:
        text_tokens: Positions of text and of the chat template's marks.
        images: In the order of the prompt.
        audio: In the order of the prompt.
    """

    text_tokens: int
    images: tuple[ImageCost, ...] = ()
    audio: tuple[AudioCost, ...] = ()

    @property
    def image_tokens(self) -> int:
        """Positions of all images."""
        return sum(image.tokens for image in self.images)

    @property
    def audio_tokens(self) -> int:
        """Positions of all audio inputs."""
        return sum(one.tokens for one in self.audio)

    @property
    def prompt_tokens(self) -> int:
        """All positions: `Timing.prompt_tokens` of the reply."""
        return self.text_tokens + self.image_tokens + self.audio_tokens


# Compared by identity, as the request in it.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedRequest:
    """A request that `Model.prepare` has read and checked. Its model serves it as often as it is given.

    Attributes:
        request: The request.
        cost: Its tokens.
        preprocess_s: Seconds that reading it took; part of `Timing.preprocess_s`.
        prediction: Of the options that it was prepared with.
        predicted_ids: Tokens of the prediction.
        prompt: Token ids, and features in place of the sources of media.
        owner: What prepared it; no other model serves it.
    """

    request: Request
    cost: RequestCost
    preprocess_s: float
    prediction: str = field(repr=False)
    predicted_ids: tuple[int, ...] = field(repr=False)
    prompt: Prompt = field(repr=False)
    owner: object = field(repr=False)

    @property
    def media_bytes(self) -> int:
        """Memory that its features take."""
        media = [*self.prompt.images, *self.prompt.audio]
        read = [item for item in media if isinstance(item, ImageFeatures | AudioFeatures)]
        return sum(array.nbytes for item in read for _, array in item.content.arrays)


def request_cost(prompt: Prompt) -> RequestCost:
    """What a prompt costs whose media were read."""
    images = [
        ImageCost(
            columns=item.views.tile_columns,
            rows=item.views.tile_rows,
            width=item.views.width,
            height=item.views.height,
            tokens=item.num_rows,
        )
        for item in prompt.images
        if isinstance(item, ImageFeatures)
    ]
    audio = [
        AudioCost(duration_s=item.duration_s, tokens=item.num_rows)
        for item in prompt.audio
        if isinstance(item, AudioFeatures)
    ]
    num_media = len(prompt.images) + len(prompt.audio)
    return RequestCost(text_tokens=len(prompt.token_ids) - num_media, images=tuple(images), audio=tuple(audio))
