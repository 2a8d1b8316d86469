"""Figures for Prometheus; no label comes from a request's text."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edgephi import Reply, Timing
from edgephi_serve.turns.engine import Engine
from edgephi_serve.turns.jobs import Job

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Metrics:
    """The figures of one server.

    Args:
        engine: Whose requests are counted.
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"edgephi_{name}", about, labels, registry=registry)

        def histogram(name: str, about: str, *labels: str) -> Histogram:
            return Histogram(f"edgephi_{name}", about, labels, registry=registry, buckets=_SECONDS)

        self.requests = counter("requests_total", "Requests answered", "endpoint", "code")
        self.rejected = counter("rejected_total", "Requests refused before any work", "reason")
        self.cancelled = counter("cancelled_total", "Requests ended early", "by")
        self.request_s = histogram("request_seconds", "From a request's head to the end of its answer", "endpoint")
        self._queue_s = histogram("queue_seconds", "Waiting for a turn")
        self._ttft_s = histogram("time_to_first_token_seconds", "From a turn to its first token")
        self._token_s = histogram("inter_token_seconds", "Between two tokens, the mean of a reply")
        self._stage_s = histogram("stage_seconds", "Work of each stage", "stage")
        self._prompt = counter("prompt_tokens_total", "Tokens of prompts", "kind")
        self._cached = counter("cached_prompt_tokens_total", "Of these, found in the cache")
        self._made = counter("generated_tokens_total", "Tokens generated")
        self._drafted = counter("speculation_drafted_total", "Draft tokens verified")
        self._accepted = counter("speculation_accepted_total", "Draft tokens accepted")
        self._paused = counter("paused_total", "Prefills that made room for a short request")
        self.audio_s = counter("audio_seconds_total", "Seconds of recordings transcribed")
        self.realtime_sessions = Gauge("edgephi_realtime_sessions", "Sessions of live captions", registry=registry)
        self.realtime_lag_s = histogram("realtime_lag_seconds", "From the end of speech to its final caption")
        for name, about, value in (
            ("requests_running", "Requests that have their turn", lambda: engine.running),
            ("requests_waiting", "Requests that wait", lambda: engine.waiting),
        ):
            Gauge(f"edgephi_{name}", about, registry=registry).set_function(value)

    def note_replies(self, replies: list[Reply], job: Job[Any]) -> None:
        """Count the replies of one request."""
        self._note_prompt(replies[0].timing)
        self._queue_s.observe(job.queue_s)
        self._paused.inc(job.num_pauses)
        for reply in replies:
            self._made.inc(reply.timing.new_tokens)
            self._drafted.inc(reply.speculation.drafted)
            self._accepted.inc(reply.speculation.accepted)
            if reply.timing.decode_tok_s:
                self._token_s.observe(1 / reply.timing.decode_tok_s)

    def _note_prompt(self, timing: Timing) -> None:
        media = timing.image_tokens + timing.audio_tokens
        self._prompt.labels("text").inc(timing.prompt_tokens - media)
        self._prompt.labels("image").inc(timing.image_tokens)
        self._prompt.labels("audio").inc(timing.audio_tokens)
        self._cached.inc(timing.cached_tokens)
        self._ttft_s.observe(timing.ttft_s)
        for stage in ("preprocess", "encode", "prefill", "decode"):
            self._stage_s.labels(stage).observe(getattr(timing, f"{stage}_s"))

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)
