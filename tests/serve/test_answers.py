"""What an answer says: the tokens that it counts, and the files of a transcript."""

from __future__ import annotations

import pytest

from edgephi import Reply, Segment, Timing, WindowRules
from edgephi.generation.reply import Speculation
from edgephi_serve.reading.transcription import Format, TranscriptPiece, TranscriptWork
from edgephi_serve.writing.transcript import TranscriptWriter
from edgephi_serve.writing.usage import usage


def _reply(new_tokens: int, cached_tokens: int, drafted: int, accepted: int) -> Reply:
    timing = Timing(
        prompt_tokens=10, cached_tokens=cached_tokens, new_tokens=new_tokens, preprocess_s=0, encode_s=0, prefill_s=0,
        ttft_s=0, decode_s=0, peak_rss_bytes=0,
    )  # fmt: skip
    speculation = Speculation(
        passes=9, drafted=90, accepted=80, prediction_drafted=drafted, prediction_accepted=accepted
    )
    return Reply(
        text="", token_ids=(), finish_reason="stop", tool_calls=(), timing=timing, speculation=speculation
    )  # fmt: skip


def test_all_replies_count_and_their_prompt_once():
    """The second's prompt is found in the cache of the first; draft tokens that are no prediction's do not count."""
    found = usage([_reply(3, 2, 5, 4), _reply(4, 9, 2, 0)])
    assert (found.prompt_tokens, found.completion_tokens, found.total_tokens) == (10, 7, 17)
    assert found.prompt_tokens_details.cached_tokens == 2
    details = found.completion_tokens_details
    assert (details.accepted_prediction_tokens, details.rejected_prediction_tokens) == (4, 3)


def _text(form: Format, *texts: str) -> str:
    work = TranscriptWork(
        task="transcribe", form=form, is_stream=False, language=None, translate_to=None, rules=WindowRules(),
        max_segment_s=None, has_logprobs=False, has_words=False, ignored=(),
    )  # fmt: skip
    writer = TranscriptWriter(work, lambda _: b"")
    made = writer.start()
    for number, text in enumerate(texts):
        segment = Segment(start_s=2.0 * number, end_s=2.0 * number + 1.5, text=text, confidence=None)
        made += writer.text(TranscriptPiece(segment=segment, choices=(), duration_s=9.0))
    return made.decode()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("text", "a < b & c > d\none --> two\n"),
        (
            "srt",
            "1\n00:00:00,000 --> 00:00:01,500\na < b & c > d\n\n2\n00:00:02,000 --> 00:00:03,500\none -> two\n",
        ),
        (
            "vtt",
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na &lt; b &amp; c &gt; d\n"
            "\n00:00:02.000 --> 00:00:03.500\none --&gt; two\n",
        ),
    ],
)
def test_words_that_look_like_markup_stay_words(form: Format, expected: str):
    assert _text(form, "a < b & c > d", "one --> two") == expected
