"""Token counts and times of a reply."""

from __future__ import annotations

from typing import Any

from edgephi import Reply
from edgephi_serve.turns.jobs import Job
from edgephi_serve.wire.answers import CompletionDetails, PromptDetails, RequestFigures, TimingBody, Usage


def usage(replies: list[Reply]) -> Usage:
    """Of all replies of a request; the prompt counts once."""
    timing = replies[0].timing
    made = sum(reply.timing.new_tokens for reply in replies)
    accepted = sum(reply.speculation.prediction_accepted for reply in replies)
    drafted = sum(reply.speculation.prediction_drafted for reply in replies)
    return Usage(
        prompt_tokens=timing.prompt_tokens,
        completion_tokens=made,
        total_tokens=timing.prompt_tokens + made,
        prompt_tokens_details=PromptDetails(
            text_tokens=timing.prompt_tokens - timing.image_tokens - timing.audio_tokens,
            image_tokens=timing.image_tokens,
            audio_tokens=timing.audio_tokens,
            cached_tokens=timing.cached_tokens,
        ),
        completion_tokens_details=CompletionDetails(
            accepted_prediction_tokens=accepted, rejected_prediction_tokens=drafted - accepted
        ),
    )


def measured(reply: Reply, job: Job[Any]) -> RequestFigures:
    """Seconds of each stage, those of all turns of a reply that was paused."""
    timing = reply.timing
    return RequestFigures(
        timing=TimingBody(
            queue_s=round(job.queue_s, 6),
            preprocess_s=round(timing.preprocess_s, 6),
            encode_s=round(timing.encode_s, 6),
            prefill_s=round(timing.prefill_s, 6),
            ttft_s=round(timing.ttft_s, 6),
            decode_s=round(timing.decode_s, 6),
        ),
        adapter=reply.adapter,
        pauses=job.num_pauses,
    )
