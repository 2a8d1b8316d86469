"""Runs code in a process of its own against a hub on this machine, with nothing of the user's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from support.fake_hub import FakeHub
from support.forked import run_forked

#: Waits between retries are cut; so are the pieces of a download, as small files would come in one.
START = """
import time
time.sleep = lambda seconds: None
import huggingface_hub.constants
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1 << 14
"""
COMMAND = (
    START
    + """
import sys
from edgephi.cli.main import CommandGroup
from edgephi_export.commands.export import export
from edgephi_export.commands.pull import pull
group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: {"export": export, "pull": pull}[name]
group(sys.argv[1:], prog_name="edgephi")
"""
)


def run_with_hub(hub: FakeHub, home: Path, *arguments: object, **environment: str) -> Any:
    """`edgephi export` or `edgephi pull`; `home` is where the library's cache goes."""
    return run_forked(COMMAND, list(map(str, arguments)), hub_environment(hub, home) | environment)


def hub_environment(hub: FakeHub, home: Path) -> dict[str, str]:
    """Nothing of the user's own: neither token nor cache nor proxy."""
    foreign = ("hf_", "hugging", "http_proxy", "https_proxy", "all_proxy")
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith(foreign)}
    paths = os.pathsep.join(filter(None, sys.path))
    return kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "PYTHONPATH": paths}
