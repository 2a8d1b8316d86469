"""On a GPU a model gives the CPU's tokens, and logits that differ by rounding only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import Model, Reply, Request, SamplingOptions
from edgephi.bundle.bundle import MANIFEST_NAME
from support.bundles import copy_bundle, described, small_bundle
from support.gpu_folders import FORMATS, NANO, request_of

pytestmark = pytest.mark.webgpu

SAMPLES = json.loads((NANO / "samples" / "samples.json").read_text(encoding="utf-8"))["samples"]
#: One sample of each mode.
MODES = {sample["mode"]: sample for sample in SAMPLES}
GREEDY = SamplingOptions.greedy(max_new_tokens=40)
#: Of the logits' standard deviation.
ROUNDING = 1e-3


def reply(model: Model, request: Request, **options: Any) -> Reply:
    """A greedy reply of an empty cache."""
    model.clear_cache()
    return model.generate(request, options=replace(GREEDY, **options))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Rounding apart, the same logits."""
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= ROUNDING * expected.std()


def test_the_samples_have_every_mode():
    assert {"text", "speech", "vision"} < MODES.keys()


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_logits_of_every_position_are_the_cpus(on: Callable[..., Model], mode: str, format_: str):
    request = request_of(MODES[mode])
    assert_close(on("webgpu", format_).logits(request, rows="all"), on("cpu", format_).logits(request, rows="all"))


@pytest.mark.parametrize("format_", FORMATS)
def test_replies_to_every_sample_are_the_cpus(on: Callable[..., Model], format_: str):
    """With int4 codes token by token; floats have the CPU's reply as drafts, which takes fewer passes."""
    for sample in SAMPLES:
        request = request_of(sample)
        expected = reply(on("cpu", format_), request)
        drafts = {"speculation": True, "prediction": expected.text} if format_ == "fp32" else {"speculation": False}
        found = reply(on("webgpu", format_), request, **drafts)
        assert found.token_ids == expected.token_ids
        assert found.timing.device == "webgpu"


def test_a_prompt_read_in_chunks_gives_the_same(on: Callable[..., Model]):
    """Each chunk goes on from the keys and values that the one before left in the device's memory."""
    request = request_of(MODES["text"])
    assert_close(
        on("webgpu", chunk=7).logits(request, rows="all"),
        on("cpu").logits(request, rows="all"),
    )


def test_a_conversation_goes_on_from_the_cache(on: Callable[..., Model]):
    model, cpu = on("webgpu"), on("cpu")
    request = request_of(MODES["text"])
    first = reply(model, request)
    turns = [*request.messages, {"role": "assistant", "content": first.text}, {"role": "user", "content": "and now?"}]
    second = model.generate(turns, options=GREEDY)
    assert second.timing.cached_tokens > 20
    cpu.clear_cache()
    assert second.token_ids == cpu.generate(turns, options=GREEDY).token_ids


def test_rejected_draft_tokens_leave_nothing_behind(on: Callable[..., Model]):
    """A prediction that turns wrong: its keys and values lie behind what counts, and are written over."""
    request = request_of(MODES["text"])
    expected = reply(on("cpu"), request, speculation=False)
    wrong = expected.text[: len(expected.text) // 2] + " something else entirely, which is not what is said"
    found = reply(on("webgpu"), request, speculation=True, prediction=wrong)
    assert found.speculation is not None
    assert 0 < found.speculation.accepted < found.speculation.drafted
    assert found.token_ids == expected.token_ids


def test_beyond_the_boundary_of_longrope_the_sequence_is_computed_anew(tmp_path: Path):
    """Keys of the short factors, in the device's memory, must not serve a sequence of the long ones."""
    folder, boundary = copy_bundle(small_bundle(recipe="int4-gpu-fp32"), tmp_path / "bundle"), 64
    manifest = described(folder)
    manifest["rope"]["original_max_positions"] = boundary  # the graph gets its tables as inputs
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    with Model.load(folder, device="webgpu") as model, Model.load(folder) as cpu:
        ids = np.random.default_rng(0).integers(20, 60, boundary + 2)
        for length in (boundary, boundary + 2, boundary - 2):
            assert_close(model.logits(ids[:length]), cpu.logits(ids[:length]))


def test_a_stopped_request_ends_and_the_next_is_right(on: Callable[..., Model]):
    model, request = on("webgpu"), request_of(MODES["text"])
    asked = iter([False] * 8)
    stopped = model.generate(request, options=GREEDY, should_stop=lambda: next(asked, True))
    assert stopped.finish_reason == "cancelled"
    assert model.generate(request, options=GREEDY).token_ids == reply(on("cpu"), request).token_ids


def test_a_saved_prefix_of_the_cpu_goes_on_on_the_gpu(
    on: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory
):
    request, path = request_of(MODES["text"]), tmp_path_factory.mktemp("prefix") / "saved"
    on("cpu").clear_cache()
    saved = on("cpu").save_prefix(request, path)
    model = on("webgpu")
    model.clear_cache()
    assert model.load_prefix(path) == saved
    found = model.generate(request, options=GREEDY)
    assert found.timing.cached_tokens == saved - 1
    assert found.token_ids == reply(on("cpu"), request).token_ids
