"""`doctor --device` asks every graph that a GPU's model opens, and reports a device that is not there as a problem."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgephi.base.errors import CapacityError, ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.inspection import assignments, diagnosis
from edgephi.inspection.assignments import HostOperator, graph_assignments
from edgephi.ort.assignment import Assignment
from edgephi.ort.session import DeviceOptions
from support.bundles import small_bundle
from support.shell import invoke


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU that takes every graph and leaves two nodes of each to the CPU; gives the graphs it was asked for."""
    asked: list[str] = []
    device = SimpleNamespace(is_host=False, has_float16=True)

    def opened(path: Any, *_: Any, **__: Any) -> Any:
        asked.append(path.name)
        nodes = (("is_vision.Equal", "Equal"), ("is_speech.Equal", "Equal"))
        return SimpleNamespace(assignment=Assignment(num_nodes=9, host_nodes=nodes))

    monkeypatch.setattr(DeviceOptions, "opened", device)
    monkeypatch.setattr(diagnosis, "device_named", lambda _: device)
    monkeypatch.setattr(assignments, "open_session", opened)
    return asked


def test_every_graph_of_the_folder_is_loaded(gpu: list[str]):
    found = list(graph_assignments(Bundle(small_bundle()), "webgpu"))
    assert gpu == ["decoder.onnx", "decoder_text.onnx", "vision.onnx", "speech.onnx"]
    assert [graph.graph for graph in found] == gpu
    assert found[0].on_cpu == (HostOperator(operator="Equal", nodes=2),)


@pytest.mark.usefixtures("gpu")
def test_doctor_shows_a_line_for_each_graph():
    done = invoke("doctor", small_bundle(), "--device", "webgpu")
    assert done.exit_code == 0
    assert "  decoder_text.onnx on webgpu: 2 of 9 nodes on the CPU: Equal 2\n" in done.stdout


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no GPU was found"), 2), (CapacityError("too large"), 4)])
def test_a_device_that_is_not_there_or_too_small_is_a_problem(
    gpu: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
):
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(assignments, "open_session", refuse)
    done = invoke("doctor", small_bundle(), "--device", "webgpu")
    assert (done.exit_code, gpu) == (code, [])
    assert f"problems\n  {error}\n" in done.stdout


def test_without_a_gpu_nothing_is_loaded():
    assert list(graph_assignments(Bundle(small_bundle()), "cpu")) == []
