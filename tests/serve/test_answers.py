"""What an answer says: the tokens that it counts, and the files of a transcript."""

from __future__ import annotations

import json

import pytest

from edgephi import Reply, Segment, Timing, Transcript, WindowRules
from edgephi.generation.reply import Speculation
from edgephi_serve.reading.transcription import Format, TranscriptEnd, TranscriptPiece, TranscriptWork
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


def _writer(form: Format) -> TranscriptWriter:
    work = TranscriptWork(
        task="transcribe", form=form, is_stream=False, language=None, translate_to=None, rules=WindowRules(),
        max_segment_s=None, has_logprobs=False, has_words=False, ignored=(),
    )  # fmt: skip
    return TranscriptWriter(work, lambda _: b"")


def _text(form: Format, *texts: str) -> str:
    writer = _writer(form)
    made = writer.start()
    for number, text in enumerate(texts):
        segment = Segment(start_s=2.0 * number, end_s=2.0 * number + 1.5, text=text, confidence=None)
        made += writer.text(TranscriptPiece(segment=segment, choices=(), duration_s=9.0))
    return made.decode()


def test_every_number_of_a_segment_is_a_number_also_of_one_without_tokens():
    """Clients in Rust, Go or Java read the whole transcript into types of their own, and refuse a null among them."""
    known = Segment(start_s=0.0, end_s=1.0, text="one", confidence=0.5)
    gap = Segment(start_s=1.0, end_s=2.0, text="", confidence=None, is_gap=True)
    writer = _writer("verbose_json")
    for segment in (known, gap):
        writer.note(TranscriptPiece(segment=segment, choices=(), duration_s=2.0))
    transcript = Transcript(file="a", segments=(known, gap), duration_s=2, elapsed_s=1, error=None, is_complete=True)
    end = TranscriptEnd(transcript=transcript, prompt_tokens=1, audio_tokens=1, new_tokens=1)
    segments = json.loads(writer.whole(end))["segments"]
    assert [segment["avg_logprob"] for segment in segments] == [-0.6931, -10.0]
    assert [{name for name, value in segment.items() if value is None} for segment in segments] == [set(), set()]


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
