"""No connection leaves: every `connect` of the server is watched while it does all that it can."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.bundles import nano_bundle

NANO = Path(__file__).parents[2] / "nano/samples"


@pytest.mark.slow
def test_no_connection_leaves(tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    calls = tmp_path / "calls"
    command = [strace, "-D", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(calls), sys.executable, "-m"]
    command += ["edgephi", "serve", str(nano_bundle()), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.match(r"serving \S+ on (\S+)", line)
            if found is None:
                pytest.skip("strace may not trace here")
            with httpx.Client(base_url=found[1], timeout=60) as client:
                image = base64.b64encode((NANO / "number.png").read_bytes()).decode()
                for url in (f"data:;base64,{image}", "http://example.org/a.png", "//example.org", "file:///etc/passwd"):
                    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What number?"}]
                    client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
                files = {"file": ("a.wav", (NANO / "command.wav").read_bytes())}
                assert client.post("/v1/audio/transcriptions", files=files).status_code == 200
                schema = {"$ref": "https://example.org/schema.json"}
                form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
                hello = [{"role": "user", "content": "hello"}]
                client.post("/v1/chat/completions", json={"messages": hello, "response_format": form})
                page = client.get("/")
                assert page.status_code == 200
                for name in re.findall(r'(?:src|href)="(/?page/[^"]+)"', page.text):
                    assert client.get(f"/{name.lstrip('/')}").status_code == 200
        finally:
            process.terminate()
            process.wait(20)
    outside = [
        one
        for one in calls.read_text().splitlines()
        if re.search(r"sin6?_addr|htons", one) and not re.search(r'inet_addr\("127\.0\.0\.1"\)|"::1"', one)
    ]
    assert outside == []


#: Brings up the loopback device of an empty network namespace, then becomes the command of its arguments.
_IN_NAMESPACE = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
assert [name for _, name in socket.if_nameindex()] == ["lo"]
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.slow
def test_the_loopback_device_is_all_that_it_needs():
    """The test above, where no other network device is there."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("network namespaces are not permitted here")
    test = f"{__file__}::{test_no_connection_leaves.__name__}"
    command = [
        unshare,
        "-rn",
        sys.executable,
        "-c",
        _IN_NAMESPACE,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        test,
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
