"""What several test files share: loaded models of the small exported checkpoints, and a browser."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from edgephi import Model
from support.bundles import small_bundle
from support.checkpoints import Layout

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_as_on_a_terminal() -> Iterator[None]:
    """A run in the background ignores Ctrl-C, and so would every program that the tests start and stop with it."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def models() -> Iterator[Callable[..., Model]]:
    """Gives the loaded model of a layout and an adapter mode, exported once per run. Do not close it."""
    opened: dict[tuple[Layout, str | None], Model] = {}

    def get(layout: Layout = "native", adapters: str | None = None) -> Model:
        key = (layout, adapters)
        if key not in opened:
            opened[key] = Model.load(small_bundle(layout, adapters))
        return opened[key]

    yield get
    for model in opened.values():
        model.close()


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts Debian's Chromium by playwright, of which a process may run one; nothing is downloaded."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:

        def begin(*options: str, program: str = chromium) -> Browser:
            return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *options])

        yield begin
