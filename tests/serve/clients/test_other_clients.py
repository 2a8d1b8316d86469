"""Other people's clients read the server's answers as they were written.

`make serve-conformance` installs the clients into build/clients, each into an environment of its own, and runs these.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.serve_process import end, launch

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SAMPLES = ROOT / "nano/samples"
BUILD = ROOT / "build/clients"
#: Of a request that asks for just these words.
REPLY = "turn on the light in the kitchen"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    running = launch(tmp_path_factory.mktemp("clients") / "log", "--max-new-tokens", "32")
    yield running
    end(running)
    assert "failure" not in running.log.read_text()


def _python(script: str, url: str) -> dict[str, Any]:
    return _printed([str(BUILD / "python/bin/python"), str(HERE / script), url, str(SAMPLES)])


def _printed(command: list[str]) -> dict[str, Any]:
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it asks the network for prices first
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=BUILD, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_openais_client_for_node(running):
    node = shutil.which("node")
    assert node is not None, "needs Node: apt-get install nodejs npm"
    # Modules are looked up beside the script.
    script = shutil.copy(HERE / "openai_node.mjs", BUILD / "node")
    got = _printed([node, str(script), running.url, str(SAMPLES)])
    assert got["models"] == ["nano"]
    assert got["streamed"] == got["plain"]
    assert got["parsed"]["last"] == "[DONE]"
    assert got["parsed"]["text"] == got["plain"]["text"]
    assert got["parsed"]["comments"] > 0
    assert got["called"] == got["calledInStream"]
    assert [name for name, _ in got["called"]] == ["lock"]
    assert got["hello"] == got["left"] == got["response"] == REPLY
    assert (got["responseEvents"][0], got["responseEvents"][-1]) == ("response.created", "response.completed")
    assert (got["image"], got["audio"]) == ("29", "open the kitchen window")
    assert json.loads(got["json"])["kind"] in ("a", "b")
    refusal = {"kind": "BadRequestError", "status": 400, "code": None, "param": "temperature"}
    assert got["bad"] == got["badInStream"] == refusal
    assert (got["absent"]["kind"], got["absent"]["code"]) == ("NotFoundError", "not_supported")
    assert {got["delta"].strip(), got["done"], got["verbose"]} == {"open the kitchen window"}
    assert got["duration"] == "number"
    assert got["srt"].startswith("1\n00:00:0")


def test_litellm(running):
    got = _python("litellm_client.py", running.url)
    assert got["plain"] == got["streamed"] == [REPLY, "stop"]
    assert got["called"] == got["called_in_stream"]
    assert [name for name, _ in got["called"]] == ["lock"]
    assert got["image"] == "29"
    assert got["refused"] == ["BadRequestError", 400, True]
    assert got["transcript"] == "open the kitchen window"


def test_langchain(running):
    got = _python("langchain_client.py", running.url)
    assert got["plain"] == got["streamed"]
    assert got["plain"][:2] == [REPLY, "stop"]
    assert got["called"] == got["called_in_stream"]
    assert [name for name, _ in got["called"]] == ["lock"]
    assert got["after_call"] in ("stop", "length", "tool_calls")
    assert got["structured"] in ("a", "b")
    assert got["image"] == "29"
    assert got["refused"] == [400, "temperature"]
    assert got["responses"] == REPLY
