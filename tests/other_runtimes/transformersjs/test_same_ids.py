"""The JavaScript of docs/transformersjs must answer with edgephi's tokens, in Node and in a browser without network."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, Reply, SamplingOptions
from edgephi.base.errors import ArtifactError, EdgeError
from edgephi_export.runtimes.comparing import compare_with_runtime
from edgephi_export.runtimes.registry import find_runtime
from other_runtimes.transformersjs.conftest import NANO, Site
from support.questions import questions, tasks

pytestmark = pytest.mark.transformersjs

QUESTIONS, TASKS = questions(27), tasks(20)
#: The longest reply of the example.
MOST_TOKENS = 200
#: A graphics adapter in software, which Debian's Chromium brings along.
SOFTWARE_GPU = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--ignore-gpu-blocklist",
)
Page = Any


def _reply(model: Model, question: str) -> Reply:
    return model.generate(question, options=SamplingOptions(max_new_tokens=MOST_TOKENS, temperature=0))


def _expected(model: Model, question: str) -> tuple[list[int], str]:
    reply = _reply(model, question)
    return list(reply.token_ids), reply.text


def _ask_node(site: Site, recipe: str, asked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = ["node", "node.mjs", str(site.model(recipe))]
    lines = "".join(f"{question}\n" for question in asked)
    return subprocess.run(command, cwd=site.path, input=lines, capture_output=True, text=True, check=False, timeout=300)


def test_node_answers_with_the_same_ids(site: Site, recipe: str, model: Model):
    done = _ask_node(site, recipe, QUESTIONS)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(reply["ids"], reply["text"]) for reply in replies] == [_expected(model, asked) for asked in QUESTIONS]
    assert sum(len(reply["ids"]) for reply in replies) > 60  # replies that end at once would prove little


@pytest.mark.parametrize("recipe", ["fp32"], indirect=True)
def test_a_prompt_beyond_the_boundary_is_read_with_the_long_factors(site: Site, recipe: str, model: Model):
    """float32: a text without sense has near ties, which the last bits decide once activations are rounded."""
    question = "kitchen light on " * 1400
    reply = _reply(model, question)
    assert reply.timing.prompt_tokens > 4096
    done = _ask_node(site, recipe, (question,))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ids"] == list(reply.token_ids)


@pytest.mark.parametrize("recipe", ["int4"], indirect=True)
def test_verify_finds_the_same_answers(site: Site, recipe: str, monkeypatch: pytest.MonkeyPatch):
    """As a user calls it: where npm installed the package."""
    monkeypatch.chdir(site.path)
    compared = compare_with_runtime(site.model(recipe), "transformersjs", str(NANO), lambda done, total: None)
    assert (compared.runtime, compared.version[:2]) == ("transformers.js", "4.")
    assert len(compared.requests) > 1
    for request in compared.requests:
        assert (request.mode, request.first_difference) == ("text", None)
        assert request.deviation <= 1e-4


def test_verify_says_what_is_missing_and_what_the_library_refuses(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    library = find_runtime("transformersjs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgeError, match=r"is not found \(Error: Cannot find module '@huggingface/transformers'\); run"):
        library.version()
    monkeypatch.chdir(site.path)
    with pytest.raises(ArtifactError, match=r"transformers\.js does not load it \(.*config\.json"):
        library.load(tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    """What `python -m http.server` gives out, as the example's page says to start it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site.path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def open_page(address: str) -> Iterator[Callable[..., Page]]:
    """Opens the example's page; fails the test when it asks any other machine, or has an error."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("needs Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api")
    problems: list[str] = []

    def get(recipe: str, device: str) -> Page:
        page = browsers[device].new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(address) else problems.append(asked.url))
        page.goto(f"{address}/index.html?model={recipe}&device={device}")
        page.wait_for_function("document.querySelector('#state').textContent != 'loading'")
        assert page.text_content("#state") == "ready"
        return page

    with api.sync_playwright() as playwright:
        browsers = {
            device: playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *options])
            for device, options in (("wasm", ()), ("webgpu", SOFTWARE_GPU))
        }
        yield get
        for browser in browsers.values():
            browser.close()
    assert problems == []


def _ask_page(page: Page, question: str) -> tuple[list[int], str]:
    page.fill("#question", question)
    page.click("button")
    page.wait_for_selector("button:not([disabled])")
    assert page.text_content("#state") == "ready"
    return [int(one) for one in page.get_attribute("#reply", "data-ids").split()], page.text_content("#reply")


@pytest.mark.parametrize("recipe", ["int4"], indirect=True)
def test_a_browser_answers_with_the_same_ids(open_page: Callable[..., Page], recipe: str, model: Model):
    page = open_page(recipe, "wasm")
    assert [_ask_page(page, asked) for asked in TASKS] == [_expected(model, asked) for asked in TASKS]


@pytest.mark.parametrize("recipe", ["int4"], indirect=True)
def test_a_browsers_gpu_answers_with_the_same_ids(open_page: Callable[..., Page], recipe: str, model: Model):
    """Its kernels are other ones, and so are the operators that it leaves to the CPU."""
    page = open_page(recipe, "webgpu")
    assert _ask_page(page, TASKS[1]) == _expected(model, TASKS[1])
