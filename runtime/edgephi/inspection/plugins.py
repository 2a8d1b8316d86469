"""Functions of the host packages that inspections use where they are installed."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from edgephi.base.errors import EdgeError

PLUGIN_GROUP = "edgephi.plugins"


def find_plugin(name: str, what: str) -> Any:
    """The function that a host package registers under this name.

    Args:
        name: Of its entry point.
        what: What it is for, as a message begins.

    Raises:
        EdgeError: It is not installed. The message is the pip command.
    """
    why = "they are not installed"
    for point in metadata.entry_points(group=PLUGIN_GROUP, name=name):
        try:
            return point.load()
        except ImportError as error:
            why = str(error)
    raise EdgeError(f'{what} needs more packages ({why}); run: pip install "edgephi[export]"')
