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
from support.namespace import run_with_loopback_only

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


@pytest.mark.slow
def test_the_loopback_device_is_all_that_it_needs():
    """The test above, where no other network device is there."""
    run_with_loopback_only(f"{__file__}::{test_no_connection_leaves.__name__}")
