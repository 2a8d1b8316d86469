"""`docs/ray_serve.py`: two replicas under load answer as the library does, also while one is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from edgephi import Model, SamplingOptions
from support.bundles import nano_bundle
from support.process_tree import descendants

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
SCRIPT = """
import logging, sys
sys.path.insert(0, "docs")
import ray
from ray import serve
ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"log_level": "ERROR"})
from ray_serve import deployment
serve.run(deployment)
print("ready", flush=True)
sys.stdin.read()
"""
CLIENTS, QUESTIONS = 4, 60
#: Requests that a replica may hold when it is killed.
MOST_LOST = 5


def test_replicas_under_load_answer_as_the_library_and_a_killed_one_comes_back():
    prompts = [f"what is {a} plus {b}" for a in range(1, 6) for b in range(1, 4)]
    options = SamplingOptions.greedy(max_new_tokens=8)
    with Model.load(nano_bundle(), threads=1) as model:
        expected = {prompt: model.generate(prompt, options=options).text for prompt in prompts}
    with _serving() as (process, url):
        replicas = _replicas(process.pid, 2)
        before = {replica: _cpu_ticks(replica) for replica in replicas}
        answers: list[tuple[str, str | None]] = []
        is_half = threading.Event()

        def ask(number: int) -> None:
            prompt = prompts[number % len(prompts)]
            answers.append((prompt, _answer(url, prompt)))
            if len(answers) == QUESTIONS // 2:
                is_half.set()

        with ThreadPoolExecutor(CLIENTS) as clients:
            asked = [clients.submit(ask, number) for number in range(QUESTIONS)]
            assert is_half.wait(60)
            assert all(_cpu_ticks(replica) > before[replica] for replica in replicas)
            os.kill(replicas[0], signal.SIGKILL)
            for one in asked:
                one.result(60)
        lost = [prompt for prompt, answer in answers if answer is None]
        assert len(answers) == QUESTIONS
        assert len(lost) <= MOST_LOST
        assert [(prompt, answer) for prompt, answer in answers if answer not in (None, expected[prompt])] == []
        assert replicas[0] not in _replicas(process.pid, 2)
        assert [_answer(url, prompt) for prompt in prompts] == [expected[prompt] for prompt in prompts]


def test_streams_health_and_errors_go_through_the_proxy():
    with _serving() as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        assert client.get("/readyz").json() == {"status": "ok"}
        body = {"messages": [{"role": "user", "content": "hello"}], "stream": True, "temperature": 0, "max_tokens": 4}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
        assert (answer.headers["content-type"], lines[-1]) == ("text/event-stream; charset=utf-8", "data: [DONE]")
        assert len(lines) > 2
        wrong = client.post("/v1/chat/completions", json={"messages": "hello"})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")
        foreign = client.get("/v1/models", headers={"host": "elsewhere.example"})
        assert foreign.status_code == 403


def _answer(url: str, prompt: str) -> str | None:
    """The reply, None where the request failed."""
    body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 8}
    try:
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    except httpx.HTTPError:
        return None
    if answer.status_code != 200:
        return None
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


@contextmanager
def _serving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "EDGEPHI_MODEL": str(nano_bundle()),
        "PYTHONPATH": "docs",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(port)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()  # Ray's processes end with the one that started them
        process.communicate()


def _replicas(driver: int, count: int) -> list[int]:
    """The processes of so many replicas, once they are there."""
    end_s = time.monotonic() + 60
    while len(found := descendants(driver, "ray::ServeReplica")) < count:
        assert time.monotonic() < end_s, found
        time.sleep(0.1)
    return found


def _cpu_ticks(process_id: int) -> int:
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
