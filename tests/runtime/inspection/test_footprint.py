"""What a model takes of a machine, so that `doctor` can say before loading whether it fits."""

from __future__ import annotations

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import StoredTensorInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.inspection.footprint import MemoryEstimate, memory_estimates, packed_bytes
from support.bundles import small_bundle


def _tensor(form: str, num_bytes: int = 4) -> StoredTensorInfo:
    values = TensorRef(file="w", offset=0, dtype="uint8", shape=(num_bytes,))
    return StoredTensorInfo(
        name="x", part="decoder", format=form, shape=(1000, 3072), values=values, scales=None, zero_points=None
    )


# What ONNX Runtime 1.31 held after packing a matrix of 3072 x 32768, its own overhead of 0.11 taken off.
@pytest.mark.parametrize(
    ("form", "bits"),
    [
        ("int4:32", 6.0),
        ("int4:32:symmetric", 6.0),
        ("int4:64", 5.0),
        ("int4:128", 4.5),
        ("int4:256", 4.25),
        ("int8:32", 10.0),
        ("int8:128", 8.5),
        ("int2:64", 3.0),
        ("int2:128", 2.5),
        ("int8:rows", 8.0),
    ],
)
def test_packed_weights_take_what_was_measured(form: str, bits: float):
    assert packed_bytes(_tensor(form)) == 1000 * 3072 * bits / 8


def test_floats_stay_as_they_are_stored():
    assert packed_bytes(_tensor("float32", num_bytes=1234)) == 1234


def test_each_mode_counts_what_it_loads_and_what_a_step_reads():
    """A multimodal folder whose text fits must not be refused for encoders that text never loads."""
    bundle = Bundle(small_bundle(recipe="int4"))
    size = {
        part: sum(packed_bytes(tensor) for tensor in bundle.tensor_index().tensors if tensor.part == part)
        for part in ("decoder", "adapter_vision", "adapter_speech", "vision", "speech")
    }
    text, speech, vision, both = memory_estimates(bundle)
    assert [need.mode for need in (text, speech, vision, both)] == ["text", "speech", "vision", "vision_speech"]
    adapters = size["adapter_vision"] + size["adapter_speech"]
    hearing, seeing = both.fixed_bytes - vision.fixed_bytes, both.fixed_bytes - speech.fixed_bytes
    assert hearing > size["speech"]  # the towers need room to work in as well
    assert seeing > size["vision"]
    assert both.fixed_bytes - text.fixed_bytes == adapters + hearing + seeing
    assert text.step_bytes == size["decoder"]
    assert speech.step_bytes == size["decoder"] + size["adapter_speech"]
    assert vision.step_bytes == both.step_bytes == size["decoder"] + size["adapter_vision"]
    assert {need.position_bytes for need in (text, speech, vision, both)} == {1024}


def test_only_modes_that_the_folder_serves_are_counted():
    assert [need.mode for need in memory_estimates(Bundle(small_bundle("phi3")))] == ["text"]
    merged = Bundle(small_bundle("native", "speech", ("text", "speech")))
    (need,) = memory_estimates(merged)
    assert need.mode == "speech"
    assert need.step_bytes == sum(packed_bytes(t) for t in merged.tensor_index().tensors if t.part == "decoder")


def test_the_longest_context_is_the_last_that_fits():
    need = MemoryEstimate(mode="text", fixed_bytes=1000, position_bytes=7, step_bytes=10)
    most = need.positions_within(1500)
    assert need.memory_bytes(most) <= 1500 < need.memory_bytes(most + 1)
    assert need.positions_within(999) == 0
    assert need.read_bytes(3) == 31
