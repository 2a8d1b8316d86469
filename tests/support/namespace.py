"""Tests run again in an empty network namespace, whose only device is loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Brings up the loopback device of the namespace, then becomes the command of its arguments.
_START = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
assert [name for _, name in socket.if_nameindex()] == ["lo"]
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run_with_loopback_only(test: str) -> None:
    """Run a test by its id, and skip where namespaces are not permitted.

    Raises:
        AssertionError: It failed, or was skipped.
    """
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("network namespaces are not permitted here")
    command = [unshare, "-rn", sys.executable, "-c", _START, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, "-m", "", test], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
