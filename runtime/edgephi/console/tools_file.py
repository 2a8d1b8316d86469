"""`--tools FILE`: the functions that the model may call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.json_file import read_json
from edgephi.console.completion import complete_files

tools_option = click.option(
    "--tools",
    "tools_file",
    metavar="FILE",
    shell_complete=complete_files,
    help='Functions that the model may call, as JSON: [{"name": ..., "description": ..., "parameters": {...}}], or as '
    "OpenAI's clients write them.",
)


def read_tools_file(path: str) -> list[dict[str, Any]]:
    """The tools, checked as far as every model needs them.

    Raises:
        ConfigError: The file cannot be read, or holds no list of functions with names of their own.
    """
    where = f"--tools {path}"
    try:
        tools = read_json(Path(path), "; give the path of a JSON file")
    except ArtifactError as error:
        raise ConfigError(f"--tools {error}") from None
    tools = [tools] if isinstance(tools, dict) else tools
    if not isinstance(tools, list) or not tools:
        raise ConfigError(f'{where}: holds no list of functions; write [{{"name": ..., "parameters": {{...}}}}]')
    names = [_name(tool, f"{where}: function {number}") for number, tool in enumerate(tools, start=1)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{where}: {twice!r} is there twice; give each function a name of its own")
    return tools


def _name(tool: object, where: str) -> str:
    """Of a function, or of what OpenAI's clients wrap one in."""
    inner = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
        raise ConfigError(f'{where} has no name; write {{"name": ..., "parameters": {{...}}}}')
    name: str = inner["name"]
    return name
