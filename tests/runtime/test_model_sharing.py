"""One model for many: turns, cancelling, closing, and what requests leave behind for each other."""

from __future__ import annotations

import gc
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from edgephi import CapacityError, ConfigError, DoneEvent, Model, SamplingOptions, TokenEvent
from edgephi.media.encoders import SpeechEncoder, VisionEncoder
from support.bundles import small_bundle
from support.signals import random_audio, random_image
from support.waiting import until

FEW = SamplingOptions(max_new_tokens=5, temperature=0.0)
MANY = SamplingOptions(max_new_tokens=2000, temperature=5.0, seed=0)
IMAGE, OTHER = random_image("sharing", 120, 70), random_image("sharing too", 120, 70)
AUDIO = (random_audio("sharing", 1.0, 16000), 16000)
SYSTEM = {"role": "system", "content": "Answer in one word, and never more than one. " * 3}


@pytest.fixture
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1) as loaded:
        yield loaded


@pytest.fixture
def widths(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """New positions of each pass of `model`."""
    seen: list[int] = []
    decoder = model._decoder
    assert decoder is not None
    run = decoder._run

    def observed(embeds: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
        seen.append(embeds.shape[1])
        return run(embeds, *arguments, **options)

    monkeypatch.setattr(decoder, "_run", observed)
    return seen


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which encoders ran."""
    seen: list[str] = []
    for kind in (VisionEncoder, SpeechEncoder):
        encode = kind.encode

        def observed(self: Any, *arguments: Any, _encode: Any = encode, **options: Any) -> np.ndarray:
            seen.append(type(self).__name__)
            return _encode(self, *arguments, **options)

        monkeypatch.setattr(kind, "encode", observed)
    return seen


def _alone(messages: Any, **media: Any) -> tuple[int, ...]:
    """The answer of a model that has read nothing else."""
    with Model.load(small_bundle(), threads=1, cache_bytes=0) as fresh:
        return fresh.generate(messages, options=FEW, **media).token_ids


@pytest.mark.parametrize("media", [{}, {"images": [IMAGE]}, {"audio": [AUDIO]}, {"images": [IMAGE], "audio": [AUDIO]}])
def test_every_turn_of_a_conversation_is_answered_as_if_read_afresh(
    model: Model, widths: list[int], encoded: list[str], media: dict[str, Any]
):
    tags = ("<|image_1|>" if "images" in media else "") + ("<|audio_1|>" if "audio" in media else "")
    talk = [SYSTEM, {"role": "user", "content": f"{tags}what is it?"}]  # without tags media move to the last turn
    for turn in range(3):
        widths.clear()
        reply = model.generate(talk, options=FEW, **media)
        assert reply.token_ids == _alone(talk, **media)
        if turn:
            assert widths[0] < 40
            assert reply.timing.prompt_tokens > 120
        talk += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "and then?"}]
    # The model encoded each medium once; the three that were loaded to compare did so too.
    assert len(encoded) == 4 * len(media)


def test_a_system_prompt_is_read_once_for_all_conversations(model: Model, widths: list[int]):
    for number, question in enumerate(("who?", "when was it?", "where is that?")):
        widths.clear()
        talk = [SYSTEM, {"role": "user", "content": question}]
        assert model.generate(talk, options=FEW).token_ids == _alone(talk)
        assert widths[0] < 40 or number == 0


def test_an_image_seen_before_is_encoded_again_only_when_evicted(model: Model, encoded: list[str]):
    model.generate("one", images=[IMAGE], options=FEW)
    model.generate("another question", images=[OTHER, IMAGE.copy()], options=FEW)
    assert len(encoded) == 2
    model.clear_cache()
    model.generate("one", images=[IMAGE], options=FEW)
    assert len(encoded) == 3


def test_another_image_in_the_same_words_is_looked_at(model: Model):
    """The prompts' ids are equal, only the images differ."""
    question = "what is there to see? " * 5
    answers = [model.generate(question, images=[image], options=FEW).token_ids for image in (IMAGE, OTHER, IMAGE)]
    assert answers == [_alone(question, images=[image]) for image in (IMAGE, OTHER, IMAGE)]


def test_raw_logits_are_always_read_afresh(model: Model, widths: list[int]):
    """They prove exports; bits must not depend on what was asked before."""
    ids = list(range(5, 90))
    first = model.logits(ids)
    model.generate("something else", options=FEW)
    model.logits(ids[:50])
    widths.clear()
    np.testing.assert_array_equal(model.logits(ids), first)
    assert widths == [85]


def test_forgetting_gives_the_memory_back(model: Model):
    decoder = model._decoder
    assert decoder is not None
    before = decoder.sequences.num_bytes
    model.generate("x " * 300, images=[IMAGE], options=FEW)
    model.generate("y " * 300, options=FEW)
    assert decoder.sequences.num_bytes > before
    model.clear_cache()
    assert (decoder.sequences.num_bytes, decoder.num_cached, model._prefill.embeddings.num_bytes) == (before, 0, 0)


def test_requests_of_threads_are_served_in_their_order():
    with Model.load(small_bundle(), threads=1) as model:
        served: list[int] = []

        def ask(number: int) -> None:
            events = model.stream(f"question {number}", options=FEW)
            served.extend(number for event in events if isinstance(event, TokenEvent) and event.index == 0)

        first = model.stream("hello", options=MANY)
        next(first)
        threads = []
        for number in range(6):
            threads.append(threading.Thread(target=ask, args=(number,)))
            threads[-1].start()
            until(lambda: len(model._queue._queue) == len(threads) + 1)
        first.close()
        for thread in threads:
            thread.join(20)
    assert served == list(range(6))


def test_a_full_queue_is_refused_and_the_others_answered():
    with Model.load(small_bundle(), threads=1, max_queue=0) as model:
        first, errors = model.stream("hello", options=FEW), []
        next(first)

        def ask() -> None:
            try:
                model.generate("more", options=FEW)
            except CapacityError as error:
                errors.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)
        assert errors == ["0 requests wait for this model already; try again later or raise max_queue"]
        assert isinstance(list(first)[-1], DoneEvent)


def test_a_request_is_cancelled_by_another_thread_while_it_waits_and_while_it_runs(model: Model):
    stop, replies = threading.Event(), []
    first = model.stream("hello", options=MANY, should_stop=stop.is_set)
    next(first)
    waiting = threading.Thread(
        target=lambda: replies.append(model.generate("more", options=MANY, should_stop=stop.is_set))
    )
    waiting.start()
    until(lambda: len(model._queue._queue) == 2)
    stop.set()
    waiting.join(20)
    assert (replies[0].finish_reason, replies[0].token_ids) == ("cancelled", ())
    rest = list(first)
    assert isinstance(rest[-1], DoneEvent)
    assert rest[-1].reply.finish_reason == "cancelled"
    assert len(rest[-1].reply.token_ids) <= 2


def test_an_abandoned_stream_gives_its_turn_back(model: Model):
    for event in model.stream("hello", options=MANY):
        assert event
        break
    gc.collect()
    assert model.generate("hello", options=FEW).token_ids == _alone("hello")


def test_closing_ends_what_runs_and_what_waits():
    model, errors = Model.load(small_bundle(), threads=1), []
    running = model.stream("hello", options=MANY)
    next(running)

    def ask() -> None:
        try:
            model.generate("more", options=FEW)
        except ConfigError as error:
            errors.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: len(model._queue._queue) == 2)
    model.close()
    thread.join(20)
    with pytest.raises(ConfigError, match="this model is closed"):
        list(running)
    assert errors == ["this model is closed; load it again"]


@pytest.mark.parametrize("where", ["before", "reading", "replying"])
def test_a_cancelled_request_does_not_spoil_the_next(where: str):
    talk = "tell me all about it, " * 10
    with Model.load(small_bundle(), threads=1, chunk=16) as model:
        answers = iter([False] * {"before": 0, "reading": 4, "replying": 20}[where] + [True])
        options = SamplingOptions(max_new_tokens=100, temperature=5.0, seed=1)
        reply = model.generate(talk, options=options, should_stop=lambda: next(answers, True))
        assert reply.finish_reason in ("cancelled", "stop")
        assert model.generate(talk, options=FEW).token_ids == _alone(talk)


def test_a_thousand_cancelled_requests_leave_memory_flat():
    """Different prompts and images, cancelled at different steps; what is kept stays within its budget."""
    with Model.load(small_bundle(), threads=1, cache_bytes=2 << 20) as model:
        decoder = model._decoder
        assert decoder is not None

        def cancel(number: int) -> None:
            left = iter(range(number % 3))
            media = {"images": [IMAGE]} if number % 50 == 0 else {}
            model.generate(
                f"{number} is a number, I say.", **media, options=MANY, should_stop=lambda: next(left, None) is None
            )

        for number in range(100):
            cancel(number)
        before = _resident_bytes()
        for number in range(100, 1100):
            cancel(number)
        assert decoder.sequences.num_bytes <= 2 << 20
        assert _resident_bytes() - before < 8 << 20


def _resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    "options", [{"max_queue": -1}, {"max_queue": 1.5}, {"cache_bytes": -1}, {"chunk": 0}, {"chunk": "9"}]
)
def test_limits_out_of_range_are_refused(options: dict[str, Any]):
    name, value = next(iter(options.items()))
    with pytest.raises(ConfigError, match=rf"^{name} is {value!r}; use [01] or more$"):
        Model.load(small_bundle(), threads=1, **options)


def test_a_recording_can_be_encoded_while_another_request_is_served(model: Model, encoded: list[str]):
    """It must not wait for its turn, nor change the answer, nor be encoded again."""
    wanted = model.generate("what", audio=[AUDIO], options=FEW).token_ids
    model.clear_cache()
    encoded.clear()
    with closing(model.stream("long", options=MANY)) as busy:
        next(busy)
        with ThreadPoolExecutor(1) as other:
            recordings = other.submit(model.encode_ahead, audio=[AUDIO]).result(60)
        assert encoded == ["SpeechEncoder"]
    for audio in (recordings, [AUDIO]):
        model._decoder.sequences.clear()  # type: ignore[union-attr]
        assert model.generate("what", audio=audio, options=FEW).token_ids == wanted
    assert encoded == ["SpeechEncoder"]


def test_a_recording_is_encoded_ahead_only_where_its_rows_can_be_kept(encoded: list[str]):
    """Otherwise the work would be done twice."""
    with Model.load(small_bundle(), threads=1, cache_bytes=0) as model:
        recordings = model.encode_ahead(audio=[AUDIO])
        assert encoded == []
        assert model.generate("what", audio=recordings, options=FEW).token_ids
    assert encoded == ["SpeechEncoder"]


def test_what_is_wrong_with_a_recording_encoded_ahead_is_said_and_changes_nothing(model: Model):
    with pytest.raises(ConfigError, match=r"audio of 4 bytes"):
        model.encode_ahead(audio=[b"none"])
    with pytest.raises(ConfigError, match=r"no such file"):
        model.encode_ahead(audio=["no/such.wav"])
    assert len(model.encode_ahead(audio=[AUDIO], should_stop=lambda: True)) == 1  # stopped is no error
    assert model.generate("what", audio=[AUDIO], options=FEW).token_ids
    model.close()
    with pytest.raises(ConfigError, match="closed"):
        model.encode_ahead(audio=[AUDIO])
