"""Packages of the extra `evaluate`, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from edgephi.base.errors import ConfigError


def need(module: str, purpose: str, extra: str = "evaluate") -> Any:
    """The module of an optional package.

    Args:
        module: Its name.
        purpose: Why it is needed, after "needed".
        extra: The extra of edgephi that installs it.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ConfigError(
            f"{module.partition('.')[0]} is not installed, needed {purpose}; run pip install 'edgephi[{extra}]'"
        ) from None
