"""Who waits for a first token is told what happens until then, and can end it at any moment without harm."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from edgephi import Model, SamplingOptions, Stage, TokenEvent
from edgephi.bundle.manifest import CacheKind
from edgephi.ort import cancellable_run
from support.bundles import small_bundle
from support.signals import random_audio, random_image

FEW = SamplingOptions(max_new_tokens=4)
WIDE, SMALL = random_image("wide", 900, 300), random_image("small", 60, 40)
LONG_RECORDING, RECORDING = (random_audio("long", 45.0, 16000), 16000), (random_audio("short", 1.0, 16000), 16000)


@pytest.fixture
def model() -> Any:
    with Model.load(small_bundle(), threads=1, chunk=32) as loaded:
        yield loaded


def _stages(model: Model, prompt: str, **media: Any) -> list[Stage]:
    reported: list[Stage] = []
    model.generate(prompt, options=FEW, on_stage=reported.append, **media)
    return reported


def _named(stages: list[Stage], name: str) -> list[tuple[int, int]]:
    return [(stage.done, stage.total) for stage in stages if stage.name == name]


def test_a_long_prompt_reports_how_much_of_it_is_read(model: Model):
    reported = _stages(model, "one two three four five six seven " * 12)
    total = _named(reported, "prefill")[-1][1]
    assert _named(reported, "prefill") == [*((done, total) for done in range(0, total, 32)), (total, total)]


def test_views_and_windows_of_all_media_are_counted_together(model: Model):
    reported = _stages(model, "x", images=[WIDE, SMALL], audio=[LONG_RECORDING])
    total = _named(reported, "encode")[0][1]
    assert total >= 2 + 2 + 2
    assert _named(reported, "encode") == [(done, total) for done in range(total + 1)]
    assert _named(reported, "preprocess") == [(done, 3) for done in range(4)]
    assert _named(reported, "load") == [(0, 1), (1, 1)]  # the decoder again, with its adapters
    names = list(dict.fromkeys(stage.name for stage in reported))
    assert names == ["preprocess", "load", "encode", "prefill", "decode"]


def _encoding_left(stages: list[Stage]) -> list[int]:
    return [total - done for done, total in _named(stages, "encode")]


def test_a_request_that_is_stopped_between_crops_goes_on_where_it_was(model: Model):
    """As the server does it to serve a short request meanwhile; the embeddings must be the same bit for bit."""
    media: dict[str, Any] = {"images": [WIDE, SMALL], "audio": [LONG_RECORDING]}
    with Model.load(small_bundle(), threads=1, chunk=32) as fresh:
        whole = fresh.generate("x", options=FEW, **media)
        expected = _kept(fresh)
    ready = model.prepare("x", **media)
    before = total = sum(1 + one.columns * one.rows for one in ready.cost.images) + 2
    for stop_at in (total - 1, 4, 1, 0):  # within an image, within another, within the audio, not at all
        reported: list[Stage] = []
        reply = model.generate(
            ready,
            options=FEW,
            on_stage=reported.append,
            should_stop=lambda given=reported, left=stop_at: left and _encoding_left(given)[-1:] == [left],
        )
        assert _encoding_left(reported) == list(range(before, stop_at - 1, -1))
        assert (reply.finish_reason == "cancelled") is (stop_at > 0)
        before = stop_at
        model.generate("short", options=FEW)
    assert reply.token_ids == whole.token_ids
    kept = _kept(model)
    assert kept.keys() == expected.keys()
    for digest, rows in kept.items():
        np.testing.assert_array_equal(rows, expected[digest])


def _kept(model: Model) -> dict[bytes, Any]:
    cache = model._prefill.embeddings
    return {digest: cache.get(digest) for digest in list(cache._entries)}


def test_an_image_that_was_cancelled_within_a_crop_changes_no_answer(model: Model, monkeypatch: pytest.MonkeyPatch):
    """The crop that runs is ended in its midst; what is kept of the others is part of the memory for media."""
    expected = model.generate("x", images=[WIDE], options=FEW).token_ids
    kept_bytes = model._prefill.embeddings.num_bytes
    model.clear_cache()
    monkeypatch.setattr(cancellable_run, "_GRACE_S", 0.0)
    monkeypatch.setattr(cancellable_run, "_POLL_S", 0.0)
    reported: list[Stage] = []
    asked_at: list[int] = []

    def should_stop() -> bool:
        asked_at.append(len(_encoding_left(reported)))
        return asked_at[-1] >= 5 and asked_at.count(asked_at[-1]) > 1  # once before a crop, then while it runs

    reply = model.generate("x", images=[WIDE], options=FEW, on_stage=reported.append, should_stop=should_stop)
    assert reply.finish_reason == "cancelled"
    assert 0 < model._prefill.embeddings.num_bytes < kept_bytes
    assert model.generate("short", options=FEW).token_ids
    assert model.generate("x", images=[WIDE], options=FEW).token_ids == expected
    assert model._prefill.embeddings.num_bytes == kept_bytes
    model.clear_cache()
    assert model._prefill.embeddings.num_bytes == 0


def test_what_is_kept_from_before_is_not_reported_as_work(model: Model):
    first = _stages(model, "the same, and more of it than one chunk holds " * 3, images=[SMALL])
    again = _stages(model, "the same, and more of it than one chunk holds " * 3, images=[SMALL])
    total = _named(first, "prefill")[-1][1]
    assert _named(again, "encode") == []
    assert _named(again, "load") == []
    assert _named(again, "prefill") == [(total - 1, total), (total, total)]


def test_every_token_is_reported_as_a_step_of_decoding_before_its_event(model: Model):
    order: list[Any] = []
    for event in model.stream("hello " * 30, options=FEW, on_stage=order.append):
        order.append(event)  # noqa: PERF402 - the observer writes to it as well
    first = order.index(Stage("decode", 1, 4))
    assert not any(isinstance(entry, TokenEvent) for entry in order[:first])
    after = [entry for entry in order[first:] if isinstance(entry, Stage | TokenEvent)]
    assert after[::2] == [Stage("decode", number + 1, 4) for number in range(len(after) // 2)]
    assert all(isinstance(entry, TokenEvent) for entry in after[1::2])


def test_the_adapters_are_loaded_in_a_stage_of_their_own(model: Model):
    text = model.generate("hello", options=FEW).timing
    first = model.generate("hello", images=[SMALL], options=FEW).timing
    second = model.generate("hello again", images=[SMALL], options=FEW).timing
    assert (text.load_s, second.load_s) == (0.0, 0.0)
    assert first.load_s > 0
    stages_s = first.queue_s + first.load_s + first.preprocess_s + first.encode_s + first.prefill_s
    assert stages_s <= first.ttft_s


def test_waiting_for_an_earlier_request_is_timed_as_the_queue(model: Model):
    open_stream = model.stream("first", options=FEW)
    next(open_stream)
    timer = threading.Timer(0.2, open_stream.close)
    timer.start()
    timing = model.generate("second", options=SamplingOptions(max_new_tokens=1)).timing
    timer.join()
    assert 0 < timing.queue_s <= timing.ttft_s


def test_a_waiting_request_reports_how_many_are_before_it(model: Model):
    reported: list[Stage] = []
    open_stream = model.stream("first", options=FEW)
    next(open_stream)
    waiting = threading.Thread(target=lambda: model.generate("second", options=FEW, on_stage=reported.append))
    waiting.start()
    while not reported:
        pass
    open_stream.close()
    waiting.join()
    assert reported[0] == Stage("queue", 0, 1)
    assert _named(reported, "prefill")


def test_an_observer_that_fails_ends_its_own_request_only(model: Model):
    def fail(_: Stage) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.generate("hello", options=FEW, on_stage=fail)
    assert model.generate("hello", options=FEW).token_ids


def test_loading_reports_where_it_is():
    reported: list[Stage] = []
    with Model.load(small_bundle(), threads=1, on_stage=reported.append):
        assert reported == [Stage("load", 0, 2), Stage("load", 1, 2), Stage("load", 2, 2)]


def test_ctrl_c_while_loading_waits_for_no_graph(monkeypatch: pytest.MonkeyPatch):
    """The decoder is loaded in a thread of its own, which must hear of it and be gone afterwards."""
    monkeypatch.setattr(cancellable_run, "_GRACE_S", 0.01)
    asked = threading.Event()

    def loads_for_ever(*given: Any) -> Any:
        should_stop = given[2]
        return cancellable_run.cancellable(asked.wait, asked.set, should_stop)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgephi.decoder.graph.open_session", loads_for_ever)
    monkeypatch.setattr("edgephi.loaded_model.open_prompts", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        Model.load(small_bundle(), threads=1)
    assert asked.is_set()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("kv_cache", ["float", "int8"])
@pytest.mark.parametrize("chunk", [17, 40, 256])
def test_a_request_ended_inside_a_pass_does_not_spoil_the_next(
    chunk: int, kv_cache: CacheKind, monkeypatch: pytest.MonkeyPatch
):
    """What a pass that was ended wrote into the cache must not count as read."""
    monkeypatch.setattr(cancellable_run, "_GRACE_S", 0.0)
    monkeypatch.setattr(cancellable_run, "_POLL_S", 0.0)
    bundle = small_bundle(kv_cache=kv_cache)
    talk, media = "tell me all about it, " * 12, {"images": [SMALL], "audio": [RECORDING]}
    with Model.load(bundle, threads=1, kv_cache=kv_cache) as fresh:
        alone, alone_seeing = fresh.generate(talk, options=FEW), fresh.generate(talk, options=FEW, **media)
    with Model.load(bundle, threads=1, chunk=chunk, kv_cache=kv_cache) as model:
        ended = 0
        for stop_at in range(1, 14):
            answers = iter(range(1, stop_at))
            given = media if stop_at % 2 else {}
            reply = model.generate(
                talk, options=FEW, **given, should_stop=lambda answers=answers: next(answers, None) is None
            )
            ended += reply.finish_reason == "cancelled"
            if stop_at % 3 == 0:
                assert model.generate(talk, options=FEW).token_ids == alone.token_ids
                assert model.generate(talk, options=FEW, **media).token_ids == alone_seeing.token_ids
                model.clear_cache()
        assert ended >= 3


def test_logits_after_an_ended_pass_are_those_of_a_fresh_reading(monkeypatch: pytest.MonkeyPatch):
    ids = np.random.default_rng(0).integers(3, 40, 200).tolist()
    with Model.load(small_bundle(), threads=1) as fresh:
        expected = fresh.logits(ids)
    monkeypatch.setattr(cancellable_run, "_GRACE_S", 0.0)
    with Model.load(small_bundle(), threads=1, chunk=64) as model:
        for stop_at in range(1, 5):
            answers = iter(range(1, stop_at))
            model.generate("x " * 90, options=FEW, should_stop=lambda answers=answers: next(answers, None) is None)
            np.testing.assert_allclose(model.logits(ids), expected, atol=1e-4)
