"""The facade: four modes through one folder, one request at a time, every refusal clear."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ArtifactError, CapacityError, ConfigError, DoneEvent, Model, SamplingOptions, TextEvent, TokenEvent
from support.bundles import copy_bundle, small_bundle
from support.signals import random_audio, random_image
from support.vocabulary import special_id

USER, END, ASSISTANT = special_id("<|user|>"), special_id("<|end|>"), special_id("<|assistant|>")
IMAGE_TOKEN, AUDIO_TOKEN = special_id("<|endoftext10|>"), special_id("<|endoftext11|>")
IMAGE = random_image("model", 120, 70)
AUDIO = (random_audio("model", 1.0, 16000), 16000)
FEW = SamplingOptions(max_new_tokens=5)
MEDIA: dict[str, dict[str, list[Any]]] = {
    "text": {},
    "speech": {"audio": [AUDIO]},
    "vision": {"images": [IMAGE]},
    "vision_speech": {"images": [IMAGE], "audio": [AUDIO]},
}
SLOTS = {"text": [], "speech": [AUDIO_TOKEN], "vision": [IMAGE_TOKEN], "vision_speech": [IMAGE_TOKEN, AUDIO_TOKEN]}


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(small_bundle(), threads=1)


def _ids(mode: str) -> list[int]:
    return [USER, *SLOTS[mode], 40, 41, 42, END, ASSISTANT]


@pytest.mark.parametrize("mode", MEDIA)
def test_generation_follows_the_logits_in_every_mode(model: Model, mode: str):
    """The first id of a greedy reply is the argmax of the prompt's logits, and so on for each next one."""
    reply = model.generate("what", **MEDIA[mode], options=FEW)
    prompt = [USER, *SLOTS[mode], *_encode(model, "what"), END, ASSISTANT]
    for i, token_id in enumerate(reply.token_ids):
        logits = model.logits([*prompt, *reply.token_ids[:i]], **MEDIA[mode])
        assert token_id == int(np.argmax(logits))
        if token_id in (IMAGE_TOKEN, AUDIO_TOKEN):  # random weights may say a slot, which `logits` would want media for
            break


def _encode(model: Model, text: str) -> list[int]:
    return model._tokenizer.encode_text(text)


@pytest.mark.parametrize("mode", MEDIA)
def test_last_row_equals_the_last_of_all_rows(model: Model, mode: str):
    every = model.logits(_ids(mode), **MEDIA[mode], rows="all")
    assert every.dtype == np.float32
    np.testing.assert_allclose(model.logits(_ids(mode), **MEDIA[mode]), every[-1], atol=2e-5)
    np.testing.assert_allclose(model.logits(_ids(mode), **MEDIA[mode], rows=3), every[-3:], atol=2e-5)


def test_a_slot_takes_as_many_positions_as_its_media_has_rows(model: Model):
    assert len(model.logits(_ids("text"), rows="all")) == 6
    assert len(model.logits(_ids("speech"), **MEDIA["speech"], rows="all")) == 6 + 13  # 98 frames, 8 per row


def test_media_change_the_answer_and_so_does_their_adapter(model: Model):
    ids = _ids("speech")
    encoded = model.logits(ids, audio=[AUDIO])
    other = model.logits(ids, audio=[(AUDIO[0][::-1].copy(), 16000)])
    deaf = model.logits(ids, audio=[AUDIO], adapter="none")
    assert np.abs(encoded - other).max() > 1e-3
    assert np.abs(encoded - deaf).max() > 1e-3


def test_media_are_taken_in_the_order_of_their_tags(model: Model):
    other = random_image("other", 90, 60)
    one = model.generate("<|image_2|>and<|image_1|>", images=[IMAGE, other], options=FEW)
    two = model.generate("<|image_1|>and<|image_2|>", images=[other, IMAGE], options=FEW)
    assert one.token_ids == two.token_ids


def test_streaming_reports_the_same_as_the_reply(model: Model):
    events = list(model.stream("hello", options=SamplingOptions(max_new_tokens=30)))
    done = events[-1]
    assert isinstance(done, DoneEvent)
    assert tuple(e.token_id for e in events if isinstance(e, TokenEvent)) == done.reply.token_ids
    assert "".join(e.text for e in events if isinstance(e, TextEvent)) == done.reply.text
    assert model.generate("hello", options=SamplingOptions(max_new_tokens=30)).token_ids == done.reply.token_ids


def test_a_token_event_carries_the_log_probabilities_of_its_token(model: Model):
    events = list(model.stream("hello", options=SamplingOptions(max_new_tokens=5, logprobs=2)))
    done = events[-1]
    assert isinstance(done, DoneEvent)
    assert [e.choice for e in events if isinstance(e, TokenEvent)] == list(done.reply.logprobs)
    assert all(len(choice.top) == 2 for choice in done.reply.logprobs)


def test_the_bytes_of_a_replys_tokens_are_its_text(model: Model):
    reply = model.generate("hello", options=SamplingOptions(max_new_tokens=30))
    assert b"".join(map(model.token_bytes, reply.token_ids)).decode("utf-8", "replace") == reply.text


def test_a_seed_makes_a_sampled_reply_reproducible(model: Model):
    def sampled(seed: int) -> tuple[int, ...]:
        options = SamplingOptions(max_new_tokens=12, temperature=2.0, top_k=50, top_p=0.95, seed=seed)
        return model.generate("hello", options=options).token_ids

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_the_prompts_tokens_include_the_medias_rows(model: Model):
    timing = model.generate("what", audio=[AUDIO], options=FEW).timing
    assert timing.prompt_tokens == 1 + 13 + len(_encode(model, "what")) + 2
    assert timing.encode_s > 0
    assert timing.preprocess_s + timing.encode_s + timing.prefill_s <= timing.ttft_s


def test_the_arguments_are_not_modified(model: Model):
    ids, pixels, samples = np.array(_ids("vision_speech")), IMAGE.copy(), AUDIO[0].copy()
    model.logits(ids, images=[IMAGE], audio=[AUDIO])
    assert ids.tolist() == _ids("vision_speech")
    assert np.array_equal(IMAGE, pixels)
    assert np.array_equal(AUDIO[0], samples)


def test_a_cancelled_request_ends_before_the_next_encoder(model: Model):
    model.clear_cache()
    reply = model.generate("x", images=[IMAGE], should_stop=lambda: True)
    assert (reply.finish_reason, reply.token_ids, reply.text) == ("cancelled", (), "")


def test_threads_take_turns_and_get_their_own_answers(model: Model):
    prompts = ["one", "two", "three", "four"]
    expected = [model.generate(prompt, options=FEW).token_ids for prompt in prompts]
    replies: dict[str, tuple[int, ...]] = {}

    def ask(prompt: str) -> None:
        replies[prompt] = model.generate(prompt, options=FEW).token_ids

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [replies[prompt] for prompt in prompts] == expected


def test_an_open_stream_does_not_block_the_thread_that_left_it_open(model: Model):
    expected = list(model.stream("hello", options=FEW))[:-1]
    stream = model.stream("hello", options=FEW)
    first = next(stream)
    assert model.generate("more", options=FEW).token_ids
    assert [first, *stream][:-1] == expected


def test_a_callback_that_asks_the_model_it_is_called_by_is_refused(model: Model):
    def ask() -> bool:
        model.generate("more", options=FEW)
        return False

    with pytest.raises(ConfigError, match="in the midst of a request"):
        model.generate("hello", options=FEW, should_stop=ask)
    assert model.generate("more", options=FEW).token_ids


def test_a_failed_request_leaves_the_model_usable(model: Model):
    expected = model.generate("hello", options=FEW).token_ids
    with pytest.raises(ConfigError):
        model.generate("hello", images=[b"not an image"], options=FEW)
    assert model.generate("hello", options=FEW).token_ids == expected


def test_a_closed_model_says_so():
    with Model.load(small_bundle(), threads=1) as closed:
        pass
    with pytest.raises(ConfigError, match="is closed"):
        closed.generate("x")


def test_closing_a_model_in_the_midst_of_a_request_says_so():
    model = Model.load(small_bundle(), threads=1)

    def close() -> bool:
        model.close()
        return False

    with pytest.raises(ConfigError, match="is closed"):
        model.generate("x", images=[IMAGE, IMAGE], should_stop=close)


@pytest.mark.parametrize(
    ("ids", "media", "match"),
    [
        ([], {}, "no tokens"),
        ([400], {}, "id 400 is outside the vocabulary of 400"),
        ([IMAGE_TOKEN, 1], {}, "1 image tokens but 0 were given"),
        ([1], {"images": [IMAGE]}, "0 image tokens but 1 were given"),
        ([AUDIO_TOKEN], {"audio": [AUDIO, AUDIO]}, "1 audio tokens but 2 were given"),
        ([1], {"rows": "first"}, "rows is 'first'"),
        ([1], {"rows": 0}, "rows is 0"),
        ([1, 2], {"rows": 3}, "rows is 3, and the prompt has 2 positions"),
        ([1], {"adapter": "both"}, "adapter is 'both'"),
    ],
)
def test_logits_refuses_what_cannot_pair_up(model: Model, ids: list[int], media: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        model.logits(ids, **media)


@pytest.mark.parametrize(
    ("media", "match"),
    [
        ({"images": [b"junk"]}, "image of 4 bytes"),
        ({"images": ["no/such.png"]}, "no/such.png: no such file"),
        ({"audio": [b"junk"]}, "audio of 4 bytes"),
        ({"audio": [(np.zeros(0, np.float32), 16000)]}, "audio array"),
        ({"audio": [(np.zeros(4000, np.float32), 4000)]}, "4,000 Hz"),
        ({"audio": [(np.full(4000, np.nan, np.float32), 16000)]}, "nan"),
        ({"images": [np.zeros((0, 5, 3), np.uint8)]}, "image"),
    ],
)
def test_media_that_cannot_be_used_are_named(model: Model, media: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        model.generate("x", **media)


def test_a_prompt_longer_than_the_context_is_refused_before_the_encoders_run():
    with (
        Model.load(small_bundle(), threads=1, max_context=20) as small,
        pytest.raises(CapacityError, match=r"the context holds 20; shorten it by \d+ or set max_context") as caught,
    ):
        small.generate("x" * 10, audio=[AUDIO])
    assert caught.value.reason == "context"


def test_a_reply_that_fills_the_context_ends_as_length():
    with Model.load(small_bundle(), threads=1, max_context=12) as small:
        reply = small.generate("hello", options=SamplingOptions(max_new_tokens=100, temperature=5.0, seed=0))
    assert reply.finish_reason in ("length", "stop")
    assert reply.timing.prompt_tokens + reply.timing.new_tokens <= 13


@pytest.mark.parametrize(
    ("modalities", "media", "match"),
    [
        (
            ("text", "speech"),
            {"images": [IMAGE]},
            r"^this model folder has no vision \(it .*\); one that has: `edgephi export \S+ -o DIR --adapters routed`$",
        ),
        (
            ("text", "vision"),
            {"audio": [AUDIO]},
            r"^this model folder has no speech \(it .*\); one that has: `edgephi export \S+ -o DIR --adapters routed`$",
        ),
    ],
)
def test_a_mode_the_bundle_lacks_names_the_export_option(
    modalities: tuple[str, ...], media: dict[str, Any], match: str
):
    with Model.load(small_bundle(modalities=modalities), threads=1) as partial:
        with pytest.raises(ConfigError, match=match):
            partial.generate("x", **media)
        assert partial.generate("x", options=FEW).token_ids


@pytest.mark.parametrize(("adapter", "mode"), [("speech", "speech"), ("vision", "vision"), ("vision", "vision_speech")])
def test_a_merged_bundle_equals_the_routed_one_on_its_own_requests(model: Model, adapter: str, mode: str):
    modalities = ("text", "speech") if adapter == "speech" else None
    with Model.load(small_bundle(adapters=adapter, modalities=modalities), threads=1) as merged:
        expected = model.logits(_ids(mode), **MEDIA[mode], rows="all")
        actual = merged.logits(_ids(mode), **MEDIA[mode], rows="all")
        np.testing.assert_allclose(actual, expected, atol=2e-4 * expected.std() + 1e-5)
        with pytest.raises(ConfigError, match=f"has its {adapter} adapter merged in.*--adapters routed"):
            merged.generate("text only")


def test_a_text_model_answers_text_and_refuses_the_rest():
    with Model.load(small_bundle("phi3"), threads=1) as text_only:
        assert text_only.generate("hello", options=FEW).token_ids
        with pytest.raises(ConfigError, match="no vision"):
            text_only.generate("x", images=[IMAGE])


def test_the_decoder_alone_is_loaded_for_a_text_request(tmp_path: Path):
    """A damaged encoder must not matter until it is needed."""
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    for name in ("vision.onnx", "speech.onnx"):
        (folder / name).write_bytes(b"x" * (folder / name).stat().st_size)
    with Model.load(folder, threads=1) as damaged:
        assert damaged.generate("hello", options=FEW).token_ids
        with pytest.raises(ArtifactError, match=r"vision.onnx"):
            damaged.generate("x", images=[IMAGE])
        with pytest.raises(ArtifactError, match=r"speech.onnx"):
            damaged.generate("x", audio=[AUDIO])


@pytest.mark.parametrize("name", ["decoder_text.onnx", "tokenizer.json", "chat_template.jinja", "edgephi.json"])
def test_a_damaged_file_of_the_right_size_is_named(tmp_path: Path, name: str):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    (folder / name).write_bytes(
        b"{%" * ((folder / name).stat().st_size // 2) + b"{" * ((folder / name).stat().st_size % 2)
    )
    with pytest.raises(ArtifactError, match=name):
        Model.load(folder, threads=1)


@pytest.mark.parametrize("mode", MEDIA)
def test_a_float16_model_answers_as_the_float32_one_does(model: Model, mode: str):
    """Every array that is bound must have the graph's dtype, and what comes out is float32 all the same."""
    with Model.load(small_bundle(recipe="fp16"), threads=1) as half:
        for rows in ("last", "all"):
            expected = model.logits(_ids(mode), **MEDIA[mode], rows=rows)  # type: ignore[arg-type]
            found = half.logits(_ids(mode), **MEDIA[mode], rows=rows)  # type: ignore[arg-type]
            assert (found.dtype, found.shape) == (np.float32, expected.shape)
            assert np.abs(found - expected).max() < 0.1 * expected.std()
        reply = half.generate("what", **MEDIA[mode], options=FEW)
        assert 1 <= len(reply.token_ids) <= 5


def test_damaged_weights_are_found_by_their_hash(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    weights = folder / "weights" / "decoder.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"decoder.bin: content differs"):
        Model.load(folder, check_hashes=True)


def test_raw_logits_take_lists_of_media_too(model: Model):
    with pytest.raises(ConfigError, match="images must be a list or a tuple"):
        model.logits([1], images=IMAGE)
    with pytest.raises(ConfigError, match=r"audio=\[\(samples, hertz\)\]"):
        model.logits([1], audio=AUDIO)


def test_a_image_is_cancelled_between_its_views(model: Model):
    model.clear_cache()  # it would not be encoded again
    answers = iter([False, False])  # before anything is encoded, and before the first view
    reply = model.generate("x", images=[IMAGE], should_stop=lambda: next(answers, True))
    assert (reply.finish_reason, reply.token_ids) == ("cancelled", ())


def test_the_timing_says_what_an_earlier_request_had_read():
    with Model.load(small_bundle()) as model:
        options = SamplingOptions(max_new_tokens=3)
        first = model.generate("one two three four five six", options=options).timing
        again = model.generate("one two three four five six", options=options).timing
        assert first.cached_tokens == 0
        assert again.cached_tokens == again.prompt_tokens - 1  # the last position is always read
