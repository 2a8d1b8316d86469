"""The GPUs of this machine as Vulkan describes them: memory, limits and features, asked without ONNX Runtime.

WebGPU has no question for a device's memory. Its provider takes Vulkan on Linux, so Vulkan's answers are those that
hold there; where there is no Vulkan, as on macOS, nothing is known before a graph is loaded.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

GpuKind = Literal["integrated", "discrete", "virtual", "software", "other"]
_KINDS: dict[int, GpuKind] = {1: "integrated", 2: "discrete", 3: "virtual", 4: "software"}
_LIBRARY = "vulkan-1.dll" if sys.platform == "win32" else "libvulkan.so.1"

# The structures of vulkan_core.h, of which a few fields are read: their sizes are at most these.
_ANY_BYTES = 2048
_VERSION_1_1 = 1 << 22 | 1 << 12
_APPLICATION_INFO, _INSTANCE_INFO = 0, 1
_PROPERTIES, _SUBGROUP_PROPERTIES = 1000059001, 1000094000
_FEATURES, _FLOAT16_FEATURES, _STORAGE_16_FEATURES = 1000059000, 1000082000, 1000083000
_NAME_AT, _NAME_BYTES = 20, 256
_LARGEST_BUFFER_AT = 324  # VkPhysicalDeviceProperties.limits.maxStorageBufferRange
_HEAPS_AT, _HEAP_BYTES, _DEVICE_LOCAL = 264, 16, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """What a GPU is and can do.

    Attributes:
        name: As its driver calls it.
        kind: `integrated` shares the machine's memory; `software` is a CPU.
        vendor_id: Of its maker, on the PCI bus.
        device_id: Of the model, on the PCI bus.
        memory_bytes: All of its memory.
        largest_buffer_bytes: What a graph may read or write as one tensor.
        has_float16: It computes with float16.
        subgroup_size: Lanes that compute in step; 0 where that is not known.
    """

    name: str
    kind: GpuKind
    vendor_id: int
    device_id: int
    memory_bytes: int
    largest_buffer_bytes: int
    has_float16: bool
    subgroup_size: int


def vulkan_gpus() -> tuple[GpuFacts, ...]:
    """The GPUs in the driver's order; none where there is no Vulkan."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ()
    instance = _instance(library)
    if instance is None:
        return ()
    try:
        return tuple(_facts(library, gpu) for gpu in _gpus(library, instance))
    finally:
        library.vkDestroyInstance(instance, None)


def _instance(library: Any) -> ctypes.c_void_p | None:
    """An instance of Vulkan 1.1; None where there is none to be had."""
    application = ctypes.create_string_buffer(
        struct.pack("@iPPIPII", _APPLICATION_INFO, 0, 0, 0, 0, 0, _VERSION_1_1), _ANY_BYTES
    )
    info = ctypes.create_string_buffer(
        struct.pack("@iPIPIPIP", _INSTANCE_INFO, 0, 0, ctypes.addressof(application), 0, 0, 0, 0), _ANY_BYTES
    )
    instance = ctypes.c_void_p()
    failed = library.vkCreateInstance(info, None, ctypes.byref(instance))
    return None if failed else instance


def _gpus(library: Any, instance: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint32()
    if library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None):
        return []
    found = (ctypes.c_void_p * count.value)()
    if library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), found):
        return []
    return [ctypes.c_void_p(handle) for handle in found[: count.value]]


def _facts(library: Any, gpu: ctypes.c_void_p) -> GpuFacts:
    properties = ctypes.create_string_buffer(_ANY_BYTES)
    library.vkGetPhysicalDeviceProperties(gpu, properties)
    vendor_id, device_id, kind = struct.unpack_from("@3I", properties, 8)
    name = properties.raw[_NAME_AT : _NAME_AT + _NAME_BYTES].split(b"\0")[0]
    (largest,) = struct.unpack_from("@I", properties, _LARGEST_BUFFER_AT)
    return GpuFacts(
        name=name.decode(errors="replace"),
        kind=_KINDS.get(kind, "other"),
        vendor_id=vendor_id,
        device_id=device_id,
        memory_bytes=_memory(library, gpu),
        largest_buffer_bytes=largest,
        has_float16=_has_float16(library, gpu),
        subgroup_size=_subgroup_size(library, gpu),
    )


def _memory(library: Any, gpu: ctypes.c_void_p) -> int:
    """Bytes of its largest heap of its own."""
    properties = ctypes.create_string_buffer(_ANY_BYTES)
    library.vkGetPhysicalDeviceMemoryProperties(gpu, properties)
    (count,) = struct.unpack_from("@I", properties, _HEAPS_AT - 4)
    heaps = [struct.unpack_from("@QI", properties, _HEAPS_AT + index * _HEAP_BYTES) for index in range(count)]
    return max((size for size, flags in heaps if flags & _DEVICE_LOCAL), default=0)


def _has_float16(library: Any, gpu: ctypes.c_void_p) -> bool:
    """Whether WebGPU's feature `shader-f16` can be had: arithmetic, and buffers of every kind."""
    storage = ctypes.create_string_buffer(struct.pack("@iP", _STORAGE_16_FEATURES, 0), _ANY_BYTES)
    half = ctypes.create_string_buffer(struct.pack("@iP", _FLOAT16_FEATURES, ctypes.addressof(storage)), _ANY_BYTES)
    features = ctypes.create_string_buffer(struct.pack("@iP", _FEATURES, ctypes.addressof(half)), _ANY_BYTES)
    with suppress(AttributeError):  # Vulkan 1.0
        library.vkGetPhysicalDeviceFeatures2(gpu, features)
    after_header = struct.calcsize("@iP")
    (computes,) = struct.unpack_from("@I", half, after_header)
    stores, uniform = struct.unpack_from("@2I", storage, after_header)
    return bool(computes and stores and uniform)


def _subgroup_size(library: Any, gpu: ctypes.c_void_p) -> int:
    subgroup = ctypes.create_string_buffer(struct.pack("@iP", _SUBGROUP_PROPERTIES, 0), _ANY_BYTES)
    properties = ctypes.create_string_buffer(struct.pack("@iP", _PROPERTIES, ctypes.addressof(subgroup)), _ANY_BYTES)
    with suppress(AttributeError):  # Vulkan 1.0
        library.vkGetPhysicalDeviceProperties2(gpu, properties)
    (size,) = struct.unpack_from("@I", subgroup, struct.calcsize("@iP"))
    return int(size)
