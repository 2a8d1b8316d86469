"""The runtimes by name."""

from __future__ import annotations

from collections.abc import Mapping

from edgephi.base.errors import ConfigError
from edgephi_export.runtimes.genai import GenaiRuntime
from edgephi_export.runtimes.optimum import OptimumRuntime
from edgephi_export.runtimes.runtime import Runtime
from edgephi_export.runtimes.transformersjs import TransformersJsRuntime

RUNTIMES: Mapping[str, Runtime] = {
    "genai": GenaiRuntime(),
    "optimum": OptimumRuntime(),
    "transformersjs": TransformersJsRuntime(),
}


def find_runtime(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"unknown runtime {name!r}; use {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
