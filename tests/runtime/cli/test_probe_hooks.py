"""The hooks of docs/appliance.md, run as they stand: an updater must see what the probe found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.hooks import HOOKS

#: The words of each updater's own command, after an accepted and after a refused probe.
CALLS = {
    "RAUC": ("rauc status mark-good", "rauc status mark-bad"),
    "snap": ("snapctl set-health okay", "snapctl set-health blocked the model does not answer as recorded"),
    "Containers": ("edgephi serve /opt/edgephi/model", None),
    "Mender": (None, None),
    "greenboot": (None, None),
}


def _run(hook: str, folder: Path, probe_code: int) -> tuple[int, list[str]]:
    """The exit code of a hook, and the commands that it called, the probe aside."""
    log = folder / "calls"
    for name in ("edgephi", "rauc", "snapctl"):
        code = f'[ "$1" = probe ] && exit {probe_code}\n' if name == "edgephi" else ""
        (folder / name).write_text(f'#!/bin/sh\n{code}echo {name} "$@" >> {log}\n')
        (folder / name).chmod(0o755)
    script = folder / "hook"
    script.write_text(hook)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SNAP": "/snap"}
    done = subprocess.run(["sh", script], env=environment, check=False, timeout=30)
    return done.returncode, log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("probe_code", [0, 3, 5])
def test_a_hook_hands_on_what_the_probe_found(name: str, probe_code: int, tmp_path: Path):
    code, calls = _run(HOOKS[name], tmp_path, probe_code)
    wanted = CALLS[name][0 if probe_code == 0 else 1]
    assert (code == 0, calls) == (probe_code == 0, [] if wanted is None else [wanted])


def test_every_hook_of_the_page_is_run():
    assert HOOKS.keys() == CALLS.keys()
    assert max(hook.count("\n") for hook in HOOKS.values()) <= 3
