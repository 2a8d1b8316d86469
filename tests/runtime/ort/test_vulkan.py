"""A machine without Vulkan has no GPUs to list, and says so without an error."""

from __future__ import annotations

import pytest

from edgephi.ort import vulkan


def test_without_vulkan_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch):
    """Doctor asks on every machine."""
    monkeypatch.setattr(vulkan, "_LIBRARY", "libvulkan-that-is-not-there.so")
    assert vulkan.vulkan_gpus() == ()
