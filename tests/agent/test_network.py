"""Neither an installation nor a probe opens a socket, as the operating system sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgephi_agent.cli import main
from support.bundles import small_bundle
from support.probes import write_samples
from support.releases import PROBE_PATH, make_release
from support.shell import invoke
from support.signing import root, write_bundle

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def _sockets(place: Path, *command: object) -> set[str]:
    """The families of the sockets that a command and its children open."""
    log = place / "trace"
    tracing = ("strace", "-f", "-qq", "-e", "trace=socket,execve", "-o", str(log))
    done = subprocess.run([*tracing, *map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    text = log.read_text()
    assert "execve(" in text  # it was traced
    return set(re.findall(r"socket\((AF_\w+)", text))


def test_sockets_are_found(tmp_path: Path):
    program = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
    assert _sockets(tmp_path, sys.executable, "-c", program) == {"AF_INET"}


def test_an_installation_opens_none(tmp_path: Path):
    (tmp_path / "root.json").write_bytes(root())
    device = tmp_path / "device"
    device.mkdir()
    assert main(["init", str(tmp_path / "root.json"), "--root", str(device)]) == 0
    bundle = write_bundle(tmp_path / "bundle", make_release(1, {PROBE_PATH: [b"#!/bin/sh\n"], "model/w": [b"w"]}))
    agent = (sys.executable, "-m", "edgephi_agent")
    assert _sockets(tmp_path, *agent, "install", bundle, "--root", device, "--device", device / "none") == set()
    assert (device / "current/model/w").read_bytes() == b"w"


def test_a_probe_opens_none(tmp_path: Path):
    model = small_bundle(recipe="int4")
    write_samples(tmp_path, model, ("text", "speech", "vision_speech"))
    assert invoke("probe", model, "--cases", tmp_path, "--record").exit_code == 0
    assert _sockets(tmp_path, sys.executable, "-m", "edgephi", "probe", model, "--cases", tmp_path) <= {"AF_UNIX"}
