"""A chat request, checked as far as can be without the model."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edgephi import DoneEvent, Event, Request, SamplingOptions, TokenEvent
from edgephi_serve.errors import ApiError, invalid
from edgephi_serve.reading.bodies import convert, parse_json, refuse_unsupported, unknown_keys
from edgephi_serve.reading.messages import (
    check_messages,
    count_content,
    lowest_detail,
    runtime_messages,
)
from edgephi_serve.reading.sampling import sampling_options
from edgephi_serve.reading.tools import Choice, read_tools
from edgephi_serve.settings import Settings
from edgephi_serve.turns.jobs import Job
from edgephi_serve.turns.pace import Size
from edgephi_serve.turns.reply_turns import ReplyTurns
from edgephi_serve.wire.chat import AdapterName, ChatRequest, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatWork:
    """A request to the model.

    Attributes:
        messages: As they came; media are decoded when the work begins.
        options: Of the first reply; the seed of each further one is larger by 1.
        tools: Offered to the model.
        tool_choice: How it may use them.
        max_crops: Of each image.
        adapter: Forced for the request.
        num_choices: How many replies.
        has_parallel_calls: Whether a reply may hold several calls.
        is_stream: Whether events are sent as they come.
        has_usage: Whether a stream ends with its usage.
        ignored: Keys that have no effect.
    """

    messages: list[Message]
    options: SamplingOptions
    tools: list[dict[str, Any]] | None
    tool_choice: Choice | None
    max_crops: int | None
    adapter: AdapterName
    num_choices: int
    has_parallel_calls: bool
    is_stream: bool
    has_usage: bool
    ignored: tuple[str, ...]

    @property
    def size(self) -> Size:
        """The size of the request, as far as it is known before it begins."""
        letters, media = count_content(self.messages)
        schemas = 0 if not self.tools else len(str(self.tools))
        return Size(
            letters=letters + schemas, media=media, max_new_tokens=self.options.max_new_tokens * self.num_choices
        )

    def run(self, job: Job[tuple[int, Event]]) -> None:
        """Emit each reply's events, with its index. Runs in the job's thread."""
        with job.prepared_turn(self.request(), self.options) as ready:
            for index in range(self.num_choices):
                job.reply = index
                seed = None if self.options.seed is None else (self.options.seed + index) % (1 << 64)
                options = replace(self.options, seed=seed)
                turns = ReplyTurns()
                while not self._reply(job, index, turns, partial(job.model.stream, ready, options=options)):
                    job.give_way()

    def request(self) -> Request:
        """The request as the runtime takes it. Media are decoded from base64 here, which takes a while for large ones.

        Raises:
            ApiError: Damaged base64.
            ConfigError: Messages or tools that cannot be used.
        """
        return Request(
            runtime_messages(self.messages),
            tools=self.tools,
            tool_choice=self.tool_choice,
            adapter=self.adapter,
            max_crops=self.max_crops,
            tags=False,
            paths=False,
        )

    def _reply(
        self,
        job: Job[tuple[int, Event]],
        index: int,
        turns: ReplyTurns,
        stream: Callable[..., Generator[Event, None, None]],
    ) -> bool:
        """Emit one reply; False if it was paused before its first token."""
        turns.begin()
        events = stream(should_stop=job.should_stop, on_stage=job.on_stage)
        has_tokens = self.options.logprobs is not None
        with closing(events):
            for event in events:
                if isinstance(event, DoneEvent):
                    done = replace(event, reply=turns.whole(event.reply))
                    if job.is_pausing:
                        return False
                    job.emit((index, done))
                elif has_tokens or not isinstance(event, TokenEvent):
                    job.emit((index, event))
        return True


def read_chat(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> ChatWork:
    """The work of a body.

    Raises:
        ApiError: It cannot be used; `param` names the field.
        ConfigError: Likewise, found by the runtime.
    """
    raw = parse_json(body)
    refuse_unsupported(raw)
    request = convert(raw, ChatRequest)
    if request.modalities is not None and set(request.modalities) - {"text"}:
        raise invalid("modalities: this model writes text only.", param="modalities", code="unsupported_parameter")
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options needs stream to be true.", param="stream_options")
    return chat_work(request, settings, without_effect(request.model, unknown_keys(raw), settings, model_names))


def chat_work(request: ChatRequest, settings: Settings, ignored: tuple[str, ...]) -> ChatWork:
    """The work of a request.

    Args:
        request: As it was read.
        settings: Limits and defaults.
        ignored: Keys that have no effect.

    Raises:
        ApiError: It cannot be used; `param` names the field.
        ConfigError: Likewise, found by the runtime.
    """
    check_messages(request.messages, settings.limits)
    tools, choice = read_tools(request, settings.limits)
    return ChatWork(
        messages=request.messages,
        options=sampling_options(request, settings),
        tools=tools,
        tool_choice=choice,
        max_crops=_max_crops(request, settings),
        adapter=(None if request.edgephi is None else request.edgephi.adapter) or "auto",
        num_choices=request.n or 1,
        has_parallel_calls=request.parallel_tool_calls is not False,
        is_stream=bool(request.stream),
        has_usage=bool(request.stream_options and request.stream_options.include_usage),
        ignored=ignored,
    )


def _max_crops(request: ChatRequest, settings: Settings) -> int | None:
    wanted = None if request.edgephi is None else request.edgephi.max_crops
    if wanted is not None and wanted < 1:
        raise invalid(f"edgephi.max_crops is {wanted}; use 1 or more.", param="edgephi.max_crops")
    if lowest_detail(request.messages):
        return 1
    return wanted or settings.max_crops


def without_effect(
    model: str | None, unknown: list[str], settings: Settings, model_names: tuple[str, ...]
) -> tuple[str, ...]:
    """Keys without effect, a foreign model's name among them.

    Args:
        model: The name in the request.
        unknown: Keys that have no effect.
        settings: With `is_strict` there may be none.
        model_names: Those of the model.

    Raises:
        ApiError: There are some, and the server is strict.
    """
    is_foreign = bool(model) and model not in model_names
    if not settings.is_strict:
        return (*(["model"] if is_foreign else []), *unknown)
    if is_foreign:
        message = f"The model {model!r:.80} does not exist; this server has {', '.join(model_names)}."
        raise ApiError(404, "invalid_request_error", "model_not_found", message, param="model")
    if unknown:
        raise invalid(f"Unknown: {', '.join(unknown)}.", param=unknown[0])
    return ()
