"""What runs where on a GPU, what it holds, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.errors import CapacityError, ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.inspection.diagnosis import diagnose
from edgephi.ort.devices import choose_device, device_named
from edgephi.ort.gpu import GpuDevice
from edgephi.ort.session import DeviceOptions, open_session
from edgephi.ort.vulkan import GpuFacts
from support.bundles import small_bundle
from support.gpu_folders import FORMATS, gpu_folder

pytestmark = pytest.mark.webgpu


def _device() -> GpuDevice:
    device = device_named("webgpu")
    assert isinstance(device, GpuDevice)
    return device


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("graph", ["decoder.onnx", "decoder_text.onnx"])
def test_no_operator_of_a_layer_runs_on_the_cpu(graph: str, format_: str):
    """A step would wait for the device and copy at each of them. Which adapter is chosen, the host knows."""
    bundle = Bundle(gpu_folder(format_))
    session = open_session(bundle.file(graph), DeviceOptions(device="webgpu"), bundle=bundle)
    assert {operator for _, operator in session.assignment.host_nodes} <= {"Equal", "Or"}
    assert not [name for name, _ in session.assignment.host_nodes if name.startswith(("layers.", "lm_head", "norm"))]
    assert (graph == "decoder_text.onnx") == (not session.assignment.host_nodes)


@pytest.mark.usefixtures("software_gpu")
@pytest.mark.parametrize("graph", ["vision.onnx", "speech.onnx"])
def test_of_the_encoders_only_places_and_sizes_are_computed_on_the_cpu(graph: str):
    bundle = Bundle(gpu_folder("int4"))
    session = open_session(bundle.file(graph), DeviceOptions(device="webgpu"), bundle=bundle)
    heavy = {"MatMul", "MatMulNBits", "FusedMatMul", "Conv", "LayerNormalization", "Gelu"}
    found = {operator for _, operator in session.assignment.host_nodes}
    assert not heavy & found
    # Its subgroups have 4 lanes, of which the provider's attention makes wrong rows.
    assert "MultiHeadAttention" in found


@pytest.mark.usefixtures("software_gpu")
def test_doctor_and_the_log_say_what_the_cpu_gets(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "edgephi")
    found = diagnose(str(gpu_folder("int4")), context=64, threads=1, device="webgpu")
    assert (found.exit_code, found.problems) == (0, ())
    texts = {graph.graph: graph.text for graph in found.assignments}
    assert texts.keys() == {"decoder.onnx", "decoder_text.onnx", "vision.onnx", "speech.onnx"}
    assert texts["decoder_text.onnx"].startswith("all ")
    assert "nodes on the CPU: Equal 2" in texts["decoder.onnx"]
    assert "MultiHeadAttention " in texts["vision.onnx"]
    for graph, text in texts.items():
        assert f"{graph} on webgpu: {text}" in caplog.text


def test_caches_that_grow_and_branch_keep_what_is_filled():
    device = _device()
    rows = np.random.default_rng(0).standard_normal((1, 2, 5, 4)).astype(np.float32)
    small, large = device.zeros((1, 2, 8, 4), "float32"), device.zeros((1, 2, 16, 4), "float32")
    device.write(small, rows)
    device.copy(small, large, 5)
    assert np.array_equal(device.read(large, 5), rows)
    assert not device.read(large, 16)[:, :, 5:].any()


def test_what_is_held_is_given_back():
    device, before = _device(), _device().held_bytes
    with Model.load(gpu_folder("int4"), device="webgpu") as model:
        assert device.held_bytes > before + 1_000_000
        del model
    assert device.held_bytes == before


def test_a_context_beyond_the_devices_memory_is_refused_before_any_work(on: Callable[..., Model]):
    model, device = on("webgpu"), _device()
    assert device.facts is not None
    model.clear_cache()
    taken, device.held_bytes = device.held_bytes, device.facts.memory_bytes
    try:
        with pytest.raises(CapacityError, match=r"^20,000 tokens: needs .* left of .*; shorten the input"):
            model.logits([20] * 20_000)
    finally:
        device.held_bytes = taken
    assert model.logits([20] * 20).shape == (model.manifest.decoder.vocab_size,)


def test_two_models_share_the_device(on: Callable[..., Model]):
    """Each has sessions and caches of its own, and a run of one waits for that of the other."""
    prompt, options = "What is two and two?", SamplingOptions.greedy(max_new_tokens=5)
    streams = [on("webgpu", format_).stream(prompt, options=options) for format_ in FORMATS]
    events = [[], []]
    for pair in zip(*streams, strict=False):
        for seen, event in zip(events, pair, strict=True):
            seen.append(event)
    for stream in streams:
        stream.close()
    expected = on("cpu").generate(prompt, options=options).token_ids
    assert [event.token_id for event in events[1] if hasattr(event, "token_id")] == list(expected)[: len(events[1])]


@pytest.mark.usefixtures("software_gpu")
def test_a_folder_in_float16_is_refused_with_the_recipe_to_export():
    """The software GPU has no float16."""
    folder = gpu_folder("int4", "int4-gpu")
    with pytest.raises(ConfigError, match=r"computes with float16, which webgpu \(.*\) does not .*int4-gpu-fp32$"):
        Model.load(folder, device="webgpu")
    assert choose_device(Bundle(folder), "auto") == "cpu"


def test_auto_takes_the_gpu_for_a_folder_that_suits_it_and_says_so(caplog: pytest.LogCaptureFixture):
    assert choose_device(Bundle(gpu_folder("int4")), "auto") == "webgpu"
    assert "device auto: webgpu (" in caplog.text
    caplog.clear()
    assert choose_device(Bundle(small_bundle()), "auto") == "cpu"
    assert "device auto: cpu, as no GPU serves (cuda: " in caplog.text


def test_the_driver_says_what_the_gpu_is(software_gpu: GpuFacts):
    """Read from the driver's own structures, byte by byte: a wrong place would give nonsense without an error."""
    facts = software_gpu
    assert (facts.name, facts.kind, facts.has_float16) == ("SwiftShader Device (Subzero)", "software", False)
    assert 1 << 30 <= facts.memory_bytes <= 1 << 40
    assert 1 << 27 <= facts.largest_buffer_bytes <= facts.memory_bytes
