"""What a model takes of a machine, so that `doctor` can say before loading whether it fits."""

from __future__ import annotations

from edgephi.bundle.bundle import Bundle
from edgephi.inspection.footprint import MemoryEstimate, memory_estimates, prefill_bytes
from edgephi.ort.packed_sizes import packed_bytes
from support.bundles import small_bundle


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
    speech_bytes, vision_bytes = both.fixed_bytes - vision.fixed_bytes, both.fixed_bytes - speech.fixed_bytes
    assert speech_bytes > size["speech"]  # the towers need room to work in as well
    assert vision_bytes > size["vision"]
    assert both.fixed_bytes - text.fixed_bytes == adapters + speech_bytes + vision_bytes
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


def test_a_graph_for_prefill_costs_mapped_files_and_no_memory_of_its_own():
    """A folder that fits must go on fitting with it."""
    plain, bundle = (Bundle(small_bundle(recipe="int4", prefill=prefill)) for prefill in (None, "int8"))
    assert memory_estimates(bundle) == memory_estimates(plain)
    weights = (file for file in bundle.manifest.files if file.path.startswith("weights/prefill"))
    assert prefill_bytes(plain) == 0 < prefill_bytes(bundle) <= sum(file.bytes for file in weights)


def test_the_longest_context_is_the_last_that_fits():
    need = MemoryEstimate(mode="text", fixed_bytes=1000, position_bytes=7, step_bytes=10)
    most = need.positions_within(1500)
    assert need.memory_bytes(most) <= 1500 < need.memory_bytes(most + 1)
    assert need.positions_within(999) == 0
    assert need.read_bytes(3) == 31
