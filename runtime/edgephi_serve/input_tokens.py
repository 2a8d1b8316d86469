"""`POST /v1/chat/completions/input_tokens`: what a request would cost, without a turn at the model."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import UNSET

from edgephi_serve.bodies import check_head, read_body
from edgephi_serve.costs import PromptCosts
from edgephi_serve.engine import Engine
from edgephi_serve.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.identity import Identity
from edgephi_serve.reading.chat import read_chat
from edgephi_serve.replying import answer
from edgephi_serve.wire.models import AudioCost, CostAnswer, CostSeconds, ImageCost, TokenDetails


class InputTokens:
    """The endpoint.

    Args:
        engine: Whose queue is entered, so that not too many are prepared at once.
        identity: What the model is called.
        costs: Count tokens.
    """

    def __init__(self, engine: Engine, identity: Identity, costs: PromptCosts) -> None:
        self._engine = engine
        self._identity = identity
        self._costs = costs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange, settings = Exchange.of(scope), self._engine.settings
        check_head(scope, "application/json", settings.limits.body_bytes)
        with self._engine.place(exchange.key):
            body = await read_body(scope, receive, settings.limits.body_bytes)
            work = read_chat(body, settings, self._identity.names)
            exchange.ignored += work.ignored
            text, media = await asyncio.to_thread(self._costs.cost, work)
        image = sum(one.rows for one in media if isinstance(one, ImageCost))
        audio = sum(one.rows for one in media if isinstance(one, AudioCost))
        total = text + image + audio
        prefill_s = self._engine.pace.prefill_s(total)
        made = CostAnswer(
            input_tokens=total,
            details=TokenDetails(text=text, image=image, audio=audio),
            media=media,
            seconds=CostSeconds(prefill=UNSET if prefill_s is None else round(prefill_s, 3)),
        )
        await answer(send, msgspec.json.encode(made), "application/json")
