"""A model folder's text: tokens with a meaning, the template's variables, and advice for sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EndInfo:
    """A token that ends a reply, its spelling, and the checkpoint's files that name it."""

    id: int
    text: str
    named_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """Ids with a meaning to the generation loop. Image and audio slots are None where the model has none.

    `ends` says where each id of `eos` was found; folders of earlier versions leave it empty.
    """

    bos: int | None
    pad: int | None
    eos: tuple[int, ...]
    image: int | None
    audio: int | None
    ends: tuple[EndInfo, ...] = ()

    def __post_init__(self) -> None:
        if not self.eos:
            raise ValueError("eos is empty; no reply would ever end")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateName:
    """A special token that the chat template can name, such as `eos_token`, and its spelling."""

    name: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Sampling the checkpoint recommends; temperature 0 is greedy.

    `not_applied` are further recommendations, spelled out, that edgephi does not follow.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    not_applied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or a positive number")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0, at most 1")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is {self.min_p}; it must be from 0 to 1")
        if not 0.01 <= self.repetition_penalty <= 100:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; it must be from 0.01 to 100")
