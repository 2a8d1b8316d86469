"""A GPU's device as far as it needs none: bindings that send what changed, memory, and a device that is lost.

The library is a stand-in whose memory is the host's; on a GPU tests/webgpu proves the same through models.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgephi.base.errors import CapacityError, ConfigError, EdgeError
from edgephi.model_options import ModelOptions
from edgephi.ort import cuda, gpu, webgpu
from edgephi.ort.device import MemoryNeed
from edgephi.ort.gpu import GpuDevice, GpuSession
from edgephi.ort.library import running
from edgephi.ort.vulkan import GpuFacts

_FACTS = GpuFacts(
    name="Example",
    kind="discrete",
    vendor_id=1,
    device_id=2,
    memory_bytes=1000,
    largest_buffer_bytes=400,
    has_float16=True,
    subgroup_size=32,
)


class _Value:
    """An OrtValue: on the device a copy, on the host an alias."""

    def __init__(self, array: np.ndarray, device: str = "cpu", _: int = 0) -> None:
        self.array = array if device == "cpu" else array.copy()

    def update_inplace(self, array: np.ndarray) -> None:
        self.array[...] = array

    def numpy(self) -> np.ndarray:
        return self.array.copy()


class _Session:
    """Adds its inputs, of which it reads `length` on the host; in place where the output is a cache."""

    providers = ("ExampleProvider",)

    def __init__(self) -> None:
        self.fails: Exception | None = None

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in ("rows", "length", "table")]

    def get_input_memory_infos(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in ("Example", "Cpu", "Example")]

    def get_providers(self) -> tuple[str, ...]:
        return self.providers

    def get_provider_graph_assignment_info(self) -> list[Any]:
        nodes = [SimpleNamespace(name="is_vision.Equal", op_type="Equal")]
        part = SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
        others = [SimpleNamespace(name="layers.0.mlp", op_type="Mul")]
        return [part, SimpleNamespace(ep_name="ExampleProvider", get_nodes=lambda: others)]

    def io_binding(self) -> _Binding:
        return _Binding()

    def run_with_iobinding(self, binding: _Binding, options: object) -> None:
        if self.fails is not None:
            raise self.fails
        total = sum(value.array.sum() for value in binding.inputs.values())
        for value in binding.outputs.values():
            value.array[...] = total


class _Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, _Value] = {}
        self.outputs: dict[str, _Value] = {}
        self.bind_ortvalue_input = self.inputs.__setitem__
        self.bind_ortvalue_output = self.outputs.__setitem__


class _Device(GpuDevice):
    def _choose(self, settings: Any, graph: bytes) -> None:
        del settings, graph


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> GpuDevice:
    """A device of 1,000 bytes."""
    library = SimpleNamespace(OrtValue=SimpleNamespace(ortvalue_from_numpy=_Value))
    monkeypatch.setattr(gpu, "runtime", lambda: library)
    return _Device("webgpu", "ExampleProvider", _FACTS)


def test_every_run_reads_what_the_host_has_by_then(device: GpuDevice):
    """Inputs are copied when they are bound: without a new copy, every step would compute the first one's token."""
    binding = device.bind(device.open(_Session, 0))
    rows, length, table, out = (np.ones(2, np.float32) for _ in range(4))
    binding.add_input("rows", rows)
    binding.add_input("length", length)
    binding.add_constant("table", table)
    binding.add_output("out", out)
    binding.run(None)
    assert out.tolist() == [6, 6]
    rows[:], length[:] = 10, 100
    binding.run(None)
    assert out.tolist() == [222, 222]


def test_a_constant_is_sent_once_for_as_long_as_its_array_lives(device: GpuDevice):
    """Rotary tables are as large as a chunk's activations, and every shape of a pass binds them."""
    table = np.ones(3, np.float32)
    first = device.constant(table)
    assert device.constant(table) is first
    assert device.constant(np.ones(3, np.float32)) is not first
    del table
    gc.collect()
    assert device.constant(np.ones(3, np.float32)) is not first


def test_weights_and_caches_count_while_they_live(device: GpuDevice):
    session = device.open(_Session, 300)
    buffer = device.zeros((1, 2, 5, 4), "float32")
    assert device.held_bytes == 300 + 160
    del session, buffer
    gc.collect()
    assert device.held_bytes == 0


@pytest.mark.parametrize(
    ("num_bytes", "largest_bytes", "message"),
    [
        (701, 100, r"^a: needs 701 B, and webgpu \(Example\) has 700 B left of 1\.00 kB; shorten the input"),
        (
            500,
            401,
            r"^a: needs a buffer of 401 B, and webgpu \(Example\) takes 400 B at most; shorten the input",
        ),
    ],
)
def test_what_does_not_fit_is_refused(device: GpuDevice, num_bytes: int, largest_bytes: int, message: str):
    session = device.open(_Session, 300)
    device.check_room(MemoryNeed(what="a", num_bytes=700, largest_bytes=400))
    with pytest.raises(CapacityError, match=message):
        device.check_room(MemoryNeed(what="a", num_bytes=num_bytes, largest_bytes=largest_bytes))
    del session


def test_a_lost_device_ends_its_sessions_and_not_those_of_a_model_loaded_again(device: GpuDevice):
    session = device.open(_Session, 0)
    assert isinstance(session, GpuSession)
    binding = device.bind(session)
    session.inner.fails = RuntimeError("WebGPU device lost (2): the driver was reset")
    words = r"^device 'webgpu' was lost, as when its driver is reset, .*; close the model and load it again$"
    for _ in range(2):
        with pytest.raises(EdgeError, match=words), running("the decoder"):
            binding.run(None)
        session.inner.fails = None
    device.bind(device.open(_Session, 0)).run(None)


def test_another_error_leaves_the_device_usable(device: GpuDevice):
    session = device.open(_Session, 0)
    binding = device.bind(session)
    session.inner.fails = RuntimeError("bad shape")
    with pytest.raises(EdgeError, match=r"^ONNX Runtime failed in the decoder \(bad shape\)$"), running("the decoder"):
        binding.run(None)
    session.inner.fails = None
    binding.run(None)


def test_a_session_that_was_opened_on_the_cpu_is_refused(device: GpuDevice):
    """Without CUDA's libraries ONNX Runtime takes the CPU and says so in a log at most."""

    def load() -> _Session:
        session = _Session()
        session.providers = ("CPUExecutionProvider",)  # type: ignore[assignment]
        return session

    with pytest.raises(ConfigError, match="device is 'webgpu', but ONNX Runtime cannot use it here"):
        device.open(load, 0)


def test_nodes_of_the_cpu_are_known_by_name(device: GpuDevice):
    found = device.open(_Session, 0).assignment
    assert (found.num_nodes, found.host_nodes) == (2, (("is_vision.Equal", "Equal"),))


@pytest.mark.parametrize(
    ("open_device", "library", "message"),
    [
        (
            cuda.CudaDevice,
            {"get_available_providers": lambda: ["CPUExecutionProvider"]},
            r"needs an ONNX Runtime with CUDA .* pip install \"edgephi\[cuda\]\"$",
        ),
        (
            webgpu.WebGpuDevice,
            {
                "get_ep_devices": list,
                "set_default_logger_severity": lambda _: None,
                "register_execution_provider_library": lambda *_: None,
            },
            r"device is 'webgpu', but no GPU was found: .*mesa-vulkan-drivers.*; use 'cpu'$",
        ),
    ],
)
def test_a_machine_without_the_device_gets_what_it_needs_as_a_message(
    monkeypatch: pytest.MonkeyPatch, open_device: Callable[[], GpuDevice], library: dict[str, Any], message: str
):
    for module in (cuda, webgpu):
        monkeypatch.setattr(module, "runtime", lambda: SimpleNamespace(**library))
    monkeypatch.setattr(webgpu, "_library", lambda: "provider.so")
    with pytest.raises(ConfigError, match=message):
        open_device()


def test_a_missing_package_is_a_pip_command(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ConfigError, match=r'^device \'webgpu\' needs .*; run: pip install "edgephi\[webgpu\]"$'):
        webgpu._library()


def test_keys_and_values_in_int8_are_for_the_cpu():
    with pytest.raises(ConfigError, match="kv_cache is 'int8', which device 'webgpu' has no kernels for; use 'float'"):
        ModelOptions(device="webgpu", kv_cache="int8")
