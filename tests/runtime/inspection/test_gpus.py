"""What doctor says of each GPU for a model folder: whether it fits, and whether the GPU can compute it at all."""

from __future__ import annotations

import dataclasses
import re

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi.inspection.gpus import gpu_needs
from edgephi.ort.vulkan import GpuFacts
from support.bundles import small_bundle

_GPU = GpuFacts(
    name="Example",
    kind="discrete",
    vendor_id=1,
    device_id=2,
    memory_bytes=1 << 30,
    largest_buffer_bytes=1 << 28,
    has_float16=False,
    subgroup_size=32,
)


@pytest.mark.parametrize(
    ("recipe", "memory_bytes", "expected"),
    [
        ("fp32", 1 << 30, r"^Example: this folder with 300 tokens takes [\d.]+ MB of its 1\.07 GB$"),
        ("fp32", 1 << 10, r"of its 1\.02 kB, which is too much$"),
        ("fp16", 1 << 30, r"1\.07 GB; it has no float16, which the folder computes with: export with .*int4-gpu-fp32$"),
    ],
)
def test_a_folder_is_compared_with_each_gpu(recipe: str, memory_bytes: int, expected: str):
    gpu = dataclasses.replace(_GPU, memory_bytes=memory_bytes)
    lines = list(gpu_needs(Bundle(small_bundle(recipe=recipe)), 300, [gpu, gpu]))
    assert len(lines) == 2
    assert all(re.search(expected, line) for line in lines), lines
