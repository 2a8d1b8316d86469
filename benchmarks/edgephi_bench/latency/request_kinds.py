"""Which requests are measured: of every kind that a plan names, in the modes that the model answers in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephi_bench.latency.own_prompts import OwnPrompt
from edgephi_bench.latency.plan import BenchPlan
from edgephi_bench.measure.condition import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind:
    """One kind of request.

    Attributes:
        mode: `text`, `speech` or `vision`.
        condition: Of its figures.
        prompt_tokens: About so many in its text, where it has no media.
        new_tokens: Generated.
        audio_s: Length of its audio; 0 for none.
        image: Width and height of its image; None for none.
        own: A user's own prompt instead of ours.
    """

    mode: str
    condition: Condition
    prompt_tokens: int
    new_tokens: int
    audio_s: float = 0.0
    image: tuple[int, int] | None = None
    own: OwnPrompt | None = None

    @property
    def media(self) -> dict[str, Any]:
        """Its media besides the text, as the engine takes them."""
        if self.audio_s:
            return {"audio_s": self.audio_s}
        return {"image": self.image} if self.image else {}

    @property
    def amount(self) -> tuple[float, str]:
        """The divisor of its energy: a number and of what."""
        if self.audio_s:
            return self.audio_s, "second of audio"
        return 1.0, "image" if self.image else "request"


def requests_of(plan: BenchPlan, modes: tuple[str, ...]) -> tuple[RequestKind, ...]:
    """Every prompt's length with every number of new tokens, every length of audio, size of image, and own prompt."""
    found = []
    first = plan.new_tokens[0]
    if "text" in modes:
        found += [
            RequestKind(mode="text", condition=text_condition(plan, prompt, new), prompt_tokens=prompt, new_tokens=new)
            for prompt in plan.prompt_tokens
            for new in plan.new_tokens
        ]
    if "speech" in modes:
        for seconds in plan.audio_s:
            condition = Condition(kind="request", audio_s=seconds)
            found.append(
                RequestKind(mode="speech", condition=condition, prompt_tokens=0, new_tokens=first, audio_s=seconds)
            )
    if "vision" in modes:
        for width, height in plan.images:
            condition = Condition(kind="request", image_width=width, image_height=height)
            found.append(
                RequestKind(
                    mode="vision", condition=condition, prompt_tokens=0, new_tokens=first, image=(width, height)
                )
            )
    return (*found, *_own(plan, modes))


def _own(plan: BenchPlan, modes: tuple[str, ...]) -> list[RequestKind]:
    return [
        RequestKind(
            mode=own.mode,
            condition=Condition(kind="request", prompt=own.name),
            prompt_tokens=0,
            new_tokens=plan.new_tokens[0],
            own=own,
        )
        for own in plan.prompts
        if own.mode in modes
    ]


def text_condition(plan: BenchPlan, prompt: int, new: int) -> Condition:
    """Of a text request; it has the number of new tokens where several are measured."""
    return Condition(kind="request", tokens=prompt, new_tokens=new if len(plan.new_tokens) > 1 else None)


def media_of(plan: BenchPlan, mode: str) -> dict[str, Any]:
    """The media of the first request of this mode, as the engine takes them."""
    if mode == "speech":
        return {"audio_s": plan.audio_s[0]}
    return {"image": plan.images[0]} if mode == "vision" else {}
