"""The first request of a server is its own, so that no client waits for what is made at the first use."""

from __future__ import annotations

import numpy as np

from edgephi import Model, Request, SamplingOptions, Timing
from edgephi.prompt.routing import available_routes

_TOKENS = 8
_SILENCE = (np.zeros(8_000, np.float32), 16_000)
_PIXELS = np.zeros((64, 64, 3), np.uint8)


def warm(model: Model) -> Timing:
    """Answer a greeting; with half a second of silence or a small image where the folder answers no text alone.

    A folder with an adapter merged in answers only what that is for.
    """
    route = available_routes(model.manifest)[0]
    request = Request(
        "Hello", images=[_PIXELS] if route.has_images else [], audio=[_SILENCE] if route.has_audio else []
    )
    return model.generate(request, options=SamplingOptions.greedy(max_new_tokens=_TOKENS)).timing
