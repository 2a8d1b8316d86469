"""Under which condition a figure was measured, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

Kind = Literal["load", "request", "prefill", "decode", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The circumstances that distinguish figures of one name; what does not matter for a figure is None.

    Attributes:
        kind: What was measured.
        tokens: Prompt tokens of a prefill; about so many in a text request.
        new_tokens: Generated tokens, where a run measured several numbers of them.
        depth: Cached tokens before the first decode step.
        threads: Of the runner.
        audio_s: Seconds of audio in the request.
        image_width: Pixels of the request's image.
        image_height: Pixels of the request's image.
        prompt: Name of a user's own request.
        context: Most tokens of the request whose memory was measured.
        clients: Of the server, at once.
    """

    kind: Kind
    tokens: int | None = None
    new_tokens: int | None = None
    depth: int | None = None
    threads: int | None = None
    audio_s: float | None = None
    image_width: int | None = None
    image_height: int | None = None
    prompt: str | None = None
    context: int | None = None
    clients: int | None = None

    def __str__(self) -> str:
        """`depth 1000, 2 threads`, for tables and messages; empty where there is nothing to distinguish."""
        return ", ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.tokens is not None:
            yield f"prompt of about {self.tokens} tokens" if self.kind == "request" else f"{self.tokens} tokens"
        if self.depth is not None:
            yield f"depth {self.depth}"
        if self.audio_s is not None:
            yield f"audio of {self.audio_s:g} s"
        if self.image_width is not None:
            yield f"image of {self.image_width}x{self.image_height}"
        if self.prompt is not None:
            yield f"own prompt, {self.prompt}"
        if self.context is not None:
            yield f"context {self.context}"
        if self.new_tokens is not None:
            yield f"{self.new_tokens} new"
        if self.threads is not None:
            yield count_of_threads(self.threads)
        if self.clients is not None:
            yield count_of_clients(self.clients)

    @property
    def values(self) -> dict[str, str | float]:
        """The fields that matter for the figure, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


def count_of_threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'s' * (count != 1)}"


def count_of_clients(count: int) -> str:
    """`1 client`, `4 clients`."""
    return f"{count} client{'s' * (count != 1)}"
