"""`POST` to `input_tokens` of either form: what a request would cost, without a turn at the model."""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec import UNSET

from edgephi import RequestCost
from edgephi_serve.connections.bodies import check_head, read_body
from edgephi_serve.connections.exchange import Exchange, Receive, Scope, Send
from edgephi_serve.connections.replying import answer
from edgephi_serve.endpoints.delivery import cancelled_on_leaving
from edgephi_serve.endpoints.forms import ReadForm
from edgephi_serve.endpoints.identity import Identity
from edgephi_serve.reading.chat import ChatWork
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job, JobLimits
from edgephi_serve.wire.models import AudioCost, CostAnswer, CostSeconds, ImageCost, TokenDetails


class InputTokens:
    """The endpoint.

    Args:
        read: Reads a body.
        engine: Whose queue is entered, so that not too many are prepared at once.
        identity: What the model is called.
    """

    def __init__(self, read: ReadForm, engine: Engine, identity: Identity) -> None:
        self._read = read
        self._engine = engine
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange, settings = Exchange.of(scope), self._engine.settings
        check_head(scope, "application/json", settings.limits.body_bytes)
        with self._engine.place(exchange.key):
            body = await read_body(scope, receive, settings.limits.body_bytes)
            form = self._read(body, settings, self._identity.names)
            exchange.ignored += form.work.ignored
            run, limits = partial(_emit_cost, form.work), JobLimits.of(settings.times)
            async with self._engine.job(run, limits) as job, cancelled_on_leaving(receive, job):
                with form.own_names():
                    cost = await job.result()
        prefill_s = self._engine.pace.prefill_s(cost.prompt_tokens)
        made = CostAnswer(
            input_tokens=cost.prompt_tokens,
            details=TokenDetails(text=cost.text_tokens, image=cost.image_tokens, audio=cost.audio_tokens),
            media=_media(cost),
            seconds=CostSeconds(prefill=UNSET if prefill_s is None else round(prefill_s, 3)),
        )
        await answer(send, msgspec.json.encode(made), "application/json")


def _emit_cost(work: ChatWork, job: Job[RequestCost]) -> None:
    job.emit(job.prepare(work.request(), work.options).cost)


def _media(cost: RequestCost) -> list[ImageCost | AudioCost]:
    images = [
        ImageCost(crops=(image.columns, image.rows), scaled=(image.width, image.height), rows=image.tokens)
        for image in cost.images
    ]
    return [*images, *(AudioCost(seconds=one.duration_s, rows=one.tokens) for one in cost.audio)]
