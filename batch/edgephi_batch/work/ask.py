"""`edgephi batch ask`: one request for each item."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgephi_batch.items import Item
from edgephi_batch.row import Row
from edgephi_batch.work.media import local_media
from edgephi_batch.work.work import Do, WorkerModel

if TYPE_CHECKING:
    from edgephi import Model, Request, SamplingOptions
    from edgephi.images.detail import Detail

_RESULT = ("text", "finish_reason", "tool_calls", "adapter", "prompt_tokens", "new_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWork:
    """Asks the model about each item.

    Attributes:
        model: In each worker.
        prompt: For items without one of their own.
        system: Text of the system turn; None for none. A conversation of an item has its own.
        sampling: Of every reply.
        max_crops: Of each image; None for the model's own number.
        detail: Of each image.
    """

    model: WorkerModel
    prompt: str
    system: str | None
    sampling: SamplingOptions
    max_crops: int | None = None
    detail: Detail = "auto"

    def open(self) -> Do[Item]:
        """Load the model.

        Raises:
            EdgeError: As `Model.load`.
        """
        model = self.model.load()
        return lambda item, should_stop: self._answer(model, item, should_stop)

    def failed(self, item: Item, error: str, elapsed_s: float) -> Row:
        """A row with the error and no result."""
        return Row.of({"id": item.id, "error": error, "elapsed_s": round(elapsed_s, 3), **dict.fromkeys(_RESULT)})

    def _answer(self, model: Model, item: Item, should_stop: Callable[[], bool]) -> Row:
        began_s = time.perf_counter()
        with local_media(item.images) as images, local_media(item.audio) as audio:
            request = self._request(item, images, audio)
            reply = model.generate(request, options=self.sampling, should_stop=should_stop)
        timing = reply.timing
        calls = [dataclasses.asdict(call) for call in reply.tool_calls]
        values = (reply.text, reply.finish_reason, calls, reply.adapter, timing.prompt_tokens, timing.new_tokens)
        elapsed_s = round(time.perf_counter() - began_s, 3)
        return Row.of({"id": item.id, "error": None, "elapsed_s": elapsed_s, **dict(zip(_RESULT, values, strict=True))})

    def _request(self, item: Item, images: list[str], audio: list[str]) -> Request:
        from edgephi import Request  # noqa: PLC0415 - only workers need it
        from edgephi.prompt.system_turn import with_system  # noqa: PLC0415

        messages: list[dict[str, Any]]
        if item.messages:
            messages = json.loads(item.messages)
        else:
            prompt = self.prompt if item.prompt is None else item.prompt
            messages = with_system([{"role": "user", "content": prompt}], self.system)
        return Request(messages, images=images, audio=audio, max_crops=self.max_crops, detail=self.detail, paths=False)
