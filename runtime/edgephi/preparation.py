"""Requests that are read and checked before their turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Unpack

from edgephi.base.cancellation import never
from edgephi.base.errors import ConfigError
from edgephi.base.stage import OnStage, ignore_stage
from edgephi.generation.logits_penalties import check_bias
from edgephi.generation.sampler import SamplingOptions
from edgephi.generation.timing import StageTimer
from edgephi.loaded_model import LoadedModel
from edgephi.prepared_request import PreparedRequest, request_cost
from edgephi.prompt.messages import Messages
from edgephi.prompt.prompt import Prompt
from edgephi.request import Request, RequestFields, as_request
from edgephi.tools.constraint import start_constraint


class PreparedRequests(LoadedModel):
    """The part of `Model` that prepares requests."""

    def prepare(
        self,
        request: Messages | Request,
        *,
        options: SamplingOptions | None = None,
        should_stop: Callable[[], bool] = never,
        on_stage: OnStage = ignore_stage,
        **fields: Unpack[RequestFields],
    ) -> PreparedRequest:
        """Read and check a request at once, while another may be served: no encoder and no decoder runs.

        The result has its cost, and `stream` and `generate` take it in place of the request: media are not read
        again, and what could be refused was refused here, but for want of memory and damaged files.

        Args:
            request: As in `stream`.
            options: Checked, and not kept: give them to `stream` too.
            should_stop: Called before each of the media; True ends the work.
            on_stage: As in `stream`, of the stage `preprocess`.
            fields: As in `stream`.

        Raises:
            ConfigError: As in `stream`.
            CapacityError: The request is longer than the context, or an image or audio is larger than any may be.
            Stopped: `should_stop` returned True.
            TypeError: A keyword that is no field of `Request`.
        """
        began_s = time.perf_counter()
        wanted = as_request(request, **fields)
        control = self._control(should_stop, on_stage, parse_s=time.perf_counter() - began_s)
        limit = self._open_decoder().limit
        chosen = options or SamplingOptions()
        check_bias(chosen.bias_pairs, self._prefill.vocab_size)
        predicted_ids = self._predicted_ids(wanted, chosen, control.timer)
        start_constraint(self._constraints, self._tokenizer, wanted.tool_use, chosen.constraint)
        prompt = self._prefill.read(self._prefill.prompt(wanted, control.timer), limit, control)
        return PreparedRequest(
            request=wanted,
            cost=request_cost(prompt),
            preprocess_s=control.timer.seconds["preprocess"],
            prediction=chosen.prediction,
            predicted_ids=tuple(predicted_ids),
            prompt=prompt,
            owner=self._prefill,
        )

    def _servable(
        self, request: Messages | Request | PreparedRequest, **fields: Unpack[RequestFields]
    ) -> Request | PreparedRequest:
        """A request that can be served: read from its fields, or prepared by this model."""
        if not isinstance(request, PreparedRequest):
            return as_request(request, **fields)
        if fields:
            raise ConfigError(f"{', '.join(fields)}: a prepared request is complete; give its fields to `prepare`")
        if request.owner is not self._prefill:
            raise ConfigError("this request was prepared by another model; prepare it with the one that serves it")
        return request

    def _predicted_ids(
        self, request: Request | PreparedRequest, options: SamplingOptions, timer: StageTimer
    ) -> Sequence[int]:
        """Tokens of the prediction. Raises ConfigError if there are more than any reply has."""
        if isinstance(request, PreparedRequest) and request.prediction == options.prediction:
            return request.predicted_ids
        with timer.measure("preprocess"):
            ids = self._tokenizer.encode_text(options.prediction)
        most = self._open_decoder().limit.shape.max_positions
        if len(ids) > most:
            raise ConfigError(
                f"prediction has {len(ids):,} tokens and the context {most:,}; give the part that the reply may reach"
            )
        return ids

    def _prompt_of(self, request: Request | PreparedRequest, timer: StageTimer) -> Prompt:
        return request.prompt if isinstance(request, PreparedRequest) else self._prefill.prompt(request, timer)
