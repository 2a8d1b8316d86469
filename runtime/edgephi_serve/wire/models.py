"""The model as it is listed, and the cost of a request."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Architecture(msgspec.Struct, kw_only=True):
    """The kinds of input and output."""

    input_modalities: list[str]
    output_modalities: list[str]


class ModelBody(msgspec.Struct, kw_only=True):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["edgephi"] = "edgephi"
    max_model_len: int
    architecture: Architecture
    languages: list[str] | UnsetType = UNSET


class ModelList(msgspec.Struct, kw_only=True):
    """All models of the server: one."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class TokenDetails(msgspec.Struct, kw_only=True):
    """A prompt's tokens by their kind."""

    text: int
    image: int
    audio: int


class ImageCost(msgspec.Struct, tag="image", kw_only=True):
    """An image: its grid of crops, its size within the grid, and its tokens."""

    crops: tuple[int, int]
    scaled: tuple[int, int]
    rows: int


class AudioCost(msgspec.Struct, tag="audio", kw_only=True):
    """A recording."""

    seconds: float
    rows: int


class CostSeconds(msgspec.Struct, kw_only=True):
    """Estimated time to read the prompt, as far as earlier requests show it."""

    prefill: float | UnsetType = UNSET


class CostAnswer(msgspec.Struct, kw_only=True):
    """The cost of a request."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int
    details: TokenDetails
    media: list[ImageCost | AudioCost]
    seconds: CostSeconds


class Health(msgspec.Struct, kw_only=True):
    """A word for the state of the server."""

    status: str
