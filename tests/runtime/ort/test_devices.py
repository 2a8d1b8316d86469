"""The device that `auto` becomes: a GPU that suits the folder, or the CPU with every reason in the log."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.ort import devices
from edgephi.ort.session import DeviceOptions
from support.bundles import small_bundle


@dataclass
class _Device:
    """The part of a device that the choice looks at."""

    has_float16: bool

    def __str__(self) -> str:
        return "webgpu (Example)"


@pytest.fixture
def only_webgpu(monkeypatch: pytest.MonkeyPatch) -> _Device:
    """A machine whose one GPU is WebGPU's."""
    device = _Device(has_float16=True)

    def named(name: str) -> _Device:
        if name == "cuda":
            raise ConfigError("no CUDA here")
        return device

    monkeypatch.setattr(devices, "device_named", named)
    return device


@pytest.mark.parametrize(
    ("recipe", "has_float16", "expected", "logged"),
    [
        ("int4", True, "webgpu", "device auto: webgpu (Example)"),
        ("int4-gpu", True, "webgpu", "device auto: webgpu (Example)"),
        ("int4-gpu", False, "cpu", "(cuda: no CUDA here; webgpu: "),
        ("int4-gpu", False, "cpu", "does not (shader-f16); export with --recipe int4-gpu-fp32)"),
        ("fp32", True, "cpu", "is stored as float32, without a kernel there; export with --recipe int4-gpu)"),
    ],
)
def test_auto_says_what_it_took_and_why(
    only_webgpu: _Device,
    caplog: pytest.LogCaptureFixture,
    recipe: str,
    has_float16: bool,
    expected: str,
    logged: str,
):
    only_webgpu.has_float16 = has_float16
    assert devices.choose_device(Bundle(small_bundle(recipe=recipe)), "auto") == expected
    assert logged in caplog.text


def test_a_device_asked_for_by_name_is_used_or_refused(only_webgpu: _Device):
    """Never the CPU in its place: answers would come, slowly, and nobody would know why."""
    only_webgpu.has_float16 = False
    with pytest.raises(ConfigError, match="computes with float16, which webgpu"):
        devices.choose_device(Bundle(small_bundle(recipe="int4-gpu")), "webgpu")
    with pytest.raises(ConfigError, match="no CUDA here"):
        devices.choose_device(Bundle(small_bundle()), "cuda")


@pytest.mark.usefixtures("only_webgpu")
def test_a_reply_says_what_computed_it():
    with Model.load(small_bundle(), device="auto") as model:
        assert model.generate("hi", options=SamplingOptions(max_new_tokens=1)).timing.device == "cpu"


def test_auto_is_no_device_before_it_is_chosen():
    with pytest.raises(ValueError, match="not chosen yet"):
        _ = DeviceOptions(device="auto").opened
