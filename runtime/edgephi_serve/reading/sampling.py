"""How tokens are chosen, from the fields of a chat request."""

from __future__ import annotations

from edgephi import Grammar, JsonSchema, Regex, SamplingOptions
from edgephi.generation.constraint import check_constraint
from edgephi_serve.errors import invalid
from edgephi_serve.settings import Settings
from edgephi_serve.wire.chat import ChatRequest, Prediction, ResponseFormat

MOST_CHOICES = 8
_MOST_STOPS = 16
_MOST_LOGPROBS = 20
_SEEDS = 1 << 64


def sampling_options(request: ChatRequest, settings: Settings) -> SamplingOptions:
    """The options of a request; what it leaves open is the folder's own recommendation.

    Raises:
        ApiError: A value out of range.
        ConfigError: As SamplingOptions.
    """
    _check_ranges(request)
    is_greedy = request.top_p == 0
    return SamplingOptions(
        max_new_tokens=_max_new_tokens(request, settings.max_new_tokens),
        temperature=request.temperature,
        top_k=1 if is_greedy else request.top_k,
        top_p=1.0 if is_greedy else request.top_p,
        min_p=request.min_p,
        repetition_penalty=request.repetition_penalty,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        logit_bias=_logit_bias(request),
        seed=None if request.seed is None else request.seed % _SEEDS,
        stop=_stop(request.stop),
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        constraint=_constraint(request, settings.limits.schema_bytes),
        speculation=None if request.edgephi is None else request.edgephi.speculation,
        prediction=_predicted_text(request.prediction),
    )


def _check_ranges(request: ChatRequest) -> None:
    for name, least, most in (
        ("temperature", 0, 2), ("top_p", 0, 1), ("min_p", 0, 1), ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2), ("top_logprobs", 0, _MOST_LOGPROBS), ("n", 1, MOST_CHOICES),
        ("seed", -(1 << 63), (1 << 64) - 1),
    ):  # fmt: skip
        value = getattr(request, name)
        if value is not None and not least <= value <= most:
            raise invalid(f"{name} is {value}; use {least} to {most}.", param=name)
    if request.top_k is not None and request.top_k < 0:
        raise invalid(f"top_k is {request.top_k}; use 0 for all tokens, or more.", param="top_k")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("top_logprobs needs logprobs to be true.", param="top_logprobs")


def _max_new_tokens(request: ChatRequest, default: int) -> int:
    """Never endless: without a limit, or with -1 as some clients send it, the default."""
    for name in ("max_completion_tokens", "max_tokens"):
        value: int | None = getattr(request, name)
        if value is None or value == -1:
            continue
        if value < 1:
            raise invalid(f"{name} is {value}; use 1 or more.", param=name)
        return value
    return default


def _logit_bias(request: ChatRequest) -> dict[int, float]:
    biases: dict[int, float] = {}
    for key, bias in (request.logit_bias or {}).items():
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise invalid(f"logit_bias: {key[:20]!r} is no token id; use whole numbers as keys.", param="logit_bias")
        if not -100 <= bias <= 100:
            raise invalid(f"logit_bias of {key} is {bias}; use -100 to 100.", param="logit_bias")
        biases[int(key)] = bias
    return biases


def _predicted_text(given: Prediction | None) -> str:
    if given is None:
        return ""
    return given.content if isinstance(given.content, str) else "".join(part.text for part in given.content)


def _stop(given: str | list[str] | None) -> tuple[str, ...]:
    stops = (given,) if isinstance(given, str) else tuple(given or ())
    if len(stops) > _MOST_STOPS:
        raise invalid(f"stop has {len(stops)} texts; use {_MOST_STOPS} or fewer.", param="stop")
    return tuple(text for text in stops if text)


def _constraint(request: ChatRequest, most_bytes: int) -> JsonSchema | Regex | Grammar | None:
    """The checked rule that the reply is held to; None without one."""
    extension = request.edgephi
    given: list[JsonSchema | Regex | Grammar] = []
    if request.response_format is not None and (schema := _schema(request.response_format, most_bytes)) is not None:
        given.append(schema)
    if extension is not None and extension.regex is not None:
        given.append(Regex(extension.regex))
    if extension is not None and extension.grammar is not None:
        given.append(Grammar(extension.grammar))
    if len(given) > 1:
        raise invalid("The reply can be held to one of response_format, edgephi.regex and edgephi.grammar.")
    if not given:
        return None
    check_constraint(given[0])
    return given[0]


def _schema(wanted: ResponseFormat, most_bytes: int) -> JsonSchema | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return JsonSchema({"type": "object"})
    param = "response_format.json_schema"
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise invalid(f"{param}: the schema is missing.", param=param)
    schema = JsonSchema(wanted.json_schema.schema)
    if len(str(schema.schema)) > most_bytes:
        raise invalid(f"{param} is larger than {most_bytes:,} bytes.", param=param)
    return schema
