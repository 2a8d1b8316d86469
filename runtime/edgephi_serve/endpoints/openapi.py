"""`GET /openapi.json`: the interface as it is, made from the structs of requests and answers."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from edgephi import __version__
from edgephi_serve.reading.transcription import FORMATS
from edgephi_serve.wire.answers import ChatAnswer, Chunk
from edgephi_serve.wire.audio import SegmentEvent, TextDelta, TextDone, TranscriptAnswer, VerboseAnswer
from edgephi_serve.wire.chat import ChatRequest
from edgephi_serve.wire.error import ErrorAnswer
from edgephi_serve.wire.models import CostAnswer, Health, ModelBody, ModelList
from edgephi_serve.wire.response_answers import AnyResponseEvent, ResponseAnswer
from edgephi_serve.wire.responses import ResponsesRequest

_TYPES = (
    ChatRequest, ChatAnswer, Chunk, ResponsesRequest, ResponseAnswer, *get_args(AnyResponseEvent), CostAnswer,
    TranscriptAnswer, VerboseAnswer, TextDelta, SegmentEvent, TextDone, ModelBody, ModelList, Health, ErrorAnswer,
)  # fmt: skip
_ERRORS = (400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 503)
_LISTS = ("timestamp_granularities[]", "include[]")


@cache
def document() -> bytes:
    """The document, in OpenAPI 3.1."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode({
        "openapi": "3.1.0",
        "info": {"title": "edgephi serve", "version": __version__},
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    })  # fmt: skip


def _paths() -> dict[str, Any]:
    chat = _json_of(ChatRequest)
    events = _events(Chunk, ErrorAnswer, end="[DONE]")
    return {
        "/v1/chat/completions": _post(chat, {**_json_of(ChatAnswer), **events}, "Answer a conversation"),
        "/v1/responses": _post(_json_of(ResponsesRequest), _response(), "Answer a conversation"),
        "/v1/chat/completions/input_tokens": _post(chat, _json_of(CostAnswer), "Count a conversation's tokens"),
        "/v1/responses/input_tokens": _post(
            _json_of(ResponsesRequest), _json_of(CostAnswer), "Count a conversation's tokens"
        ),
        "/v1/audio/transcriptions": _post(_form(), _transcript(), "Write a recording down"),
        "/v1/audio/translations": _post(_form("to_language"), _transcript(), "Write a recording down in English"),
        "/v1/realtime": _socket("Write audio down while it comes"),
        "/v1/models": _get(_json_of(ModelList), "List the model"),
        "/v1/models/{name}": {
            **_get(_json_of(ModelBody), "The model"),
            "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
        },
        "/v1/health": _get(_json_of(Health), "Whether requests are answered"),
        "/readyz": _get(_json_of(Health), "As /v1/health"),
        "/livez": _get(_json_of(Health), "Whether the process lives"),
        "/metrics": _get({"text/plain": {"schema": {"type": "string"}}}, "Figures for Prometheus"),
        "/openapi.json": _get({"application/json": {"schema": {"type": "object"}}}, "This document"),
    }


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _json_of(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(kind)}}


def _response() -> dict[str, Any]:
    return {**_json_of(ResponseAnswer), **_events(*get_args(AnyResponseEvent))}


def _events(*kinds: type, end: str | None = None) -> dict[str, Any]:
    """Server-sent events; the data of each is one of these as JSON, or the text that ends a stream."""
    data: dict[str, Any] = {
        "type": "string", "contentMediaType": "application/json", "contentSchema": _one_of(*kinds),
    }  # fmt: skip
    if end is not None:
        data = {"anyOf": [{"const": end}, data]}
    event = {"type": "object", "properties": {"event": {"type": "string"}, "data": data}, "required": ["data"]}
    return {"text/event-stream": {"schema": event}}


def _one_of(*kinds: type) -> dict[str, Any]:
    return {"oneOf": [_ref(kind) for kind in kinds]}


def _transcript() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "application/json": {"schema": _one_of(TranscriptAnswer, VerboseAnswer)},
        "text/plain": text,
        "application/x-subrip": text,
        "text/vtt": text,
        **_events(TextDelta, SegmentEvent, TextDone, ErrorAnswer),
    }


def _form(*more: str) -> dict[str, Any]:
    texts = ("model", "language", "chunking_strategy", "prompt", *more)
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary"},
        "response_format": {"type": "string", "enum": list(FORMATS)},
        "stream": {"type": "boolean"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "max_segment_s": {"type": "number", "minimum": 1, "maximum": 30},
        **{name: {"type": "array", "items": {"type": "string"}} for name in _LISTS},
        **{name: {"type": "string"} for name in texts},
    }
    return {"multipart/form-data": {"schema": {"type": "object", "properties": properties, "required": ["file"]}}}


def _post(request: dict[str, Any], reply: dict[str, Any], about: str) -> dict[str, Any]:
    return {
        "post": {
            "summary": about,
            "requestBody": {"required": True, "content": request},
            "responses": _responses(reply, about),
        }
    }


def _get(reply: dict[str, Any], about: str) -> dict[str, Any]:
    return {"get": {"summary": about, "responses": _responses(reply, about)}}


def _socket(about: str) -> dict[str, Any]:
    """A WebSocket, for which OpenAPI has no form."""
    intent = {"name": "intent", "in": "query", "required": True, "schema": {"enum": ["transcription"]}}
    responses = {
        **_responses({}, about),
        "426": {"description": "Not asked for as a WebSocket", "content": _json_of(ErrorAnswer)},
    }
    responses["101"] = responses.pop("200")
    return {"get": {"summary": about, "parameters": [intent], "responses": responses}}


def _responses(reply: dict[str, Any], about: str) -> dict[str, Any]:
    failures = {
        str(status): {"description": "Refused or failed", "content": _json_of(ErrorAnswer)} for status in _ERRORS
    }
    return {"200": {"description": about, "content": reply}, **failures}
