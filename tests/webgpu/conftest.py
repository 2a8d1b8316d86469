"""A GPU's model and the CPU's of the same folder. A machine without a GPU fails these tests; none is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from edgephi import Model
from edgephi.ort.devices import device_named
from edgephi.ort.gpu import GpuDevice
from edgephi.ort.vulkan import GpuFacts
from support.gpu_folders import gpu_folder


@pytest.fixture
def software_gpu() -> GpuFacts:
    """What the driver says of the software GPU of `make webgpu`; `make gpu` leaves its tests out."""
    device = device_named("webgpu")
    assert isinstance(device, GpuDevice)
    if device.facts is None or device.facts.kind != "software":
        pytest.skip("is about the software GPU of `make webgpu`")
    return device.facts


@pytest.fixture(scope="session")
def on() -> Iterator[Callable[..., Model]]:
    """Gives the loaded model of a device and a format, with options. Do not close it."""
    opened: dict[tuple[object, ...], Model] = {}

    def get(device: str, format_: str = "int4", **options: object) -> Model:
        key = (device, format_, *sorted(options.items()))
        if key not in opened:
            opened[key] = Model.load(gpu_folder(format_), device=device, **options)  # type: ignore[arg-type]
        return opened[key]

    yield get
    for model in opened.values():
        model.close()
