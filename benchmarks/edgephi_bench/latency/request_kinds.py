"""Which requests are measured: of every kind that a plan names, in the modes that the model answers in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephi_bench.latency.own_prompts import OwnPrompt
from edgephi_bench.latency.plan import BenchPlan


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
    condition: str
    prompt_tokens: int
    new_tokens: int
    audio_s: float = 0.0
    image: tuple[int, int] | None = None
    own: OwnPrompt | None = None

    @property
    def media(self) -> dict[str, Any]:
        """What it has besides text, as the engine takes it."""
        if self.audio_s:
            return {"audio_s": self.audio_s}
        return {"image": self.image} if self.image else {}

    @property
    def amount(self) -> tuple[float, str]:
        """What its energy is divided by: a number and of what."""
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
        found += [
            RequestKind(mode="speech", condition=f"audio of {s:g} s", prompt_tokens=0, new_tokens=first, audio_s=s)
            for s in plan.audio_s
        ]
    if "vision" in modes:
        found += [
            RequestKind(mode="vision", condition=f"image of {w}x{h}", prompt_tokens=0, new_tokens=first, image=(w, h))
            for w, h in plan.images
        ]
    return (*found, *_own(plan, modes))


def _own(plan: BenchPlan, modes: tuple[str, ...]) -> list[RequestKind]:
    return [
        RequestKind(
            mode=own.mode,
            condition=f"own prompt, {own.name}",
            prompt_tokens=0,
            new_tokens=plan.new_tokens[0],
            own=own,
        )
        for own in plan.prompts
        if own.mode in modes
    ]


def text_condition(plan: BenchPlan, prompt: int, new: int) -> str:
    """The number of new tokens is told where there are several."""
    told = f", {new} new" if len(plan.new_tokens) > 1 else ""
    return f"prompt of about {prompt} tokens{told}"


def media_of(plan: BenchPlan, mode: str) -> dict[str, Any]:
    """What the first request of this mode has besides text, as the engine takes it."""
    if mode == "speech":
        return {"audio_s": plan.audio_s[0]}
    return {"image": plan.images[0]} if mode == "vision" else {}
