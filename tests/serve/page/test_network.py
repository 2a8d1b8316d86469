"""The page needs nothing but its server: all views work where the loopback device is the only one."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.namespace import run_with_loopback_only
from support.page_actions import SAMPLES, replies, say, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SPOKEN = "the small cat likes my red circle"


#: Without it Chromium looks up services of its maker.
NO_LOOKUPS = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
TRACED = """#!/bin/sh
exec strace -D -f -qq -e trace=connect,sendto,sendmsg -e signal=none -o {calls} {chromium} "$@"
"""
#: Chromium asks the kernel whether there is a way to this address; nothing is sent.
ROUTE = re.compile(r'^\d+ +connect\(.*htons\(443\).*"2001:4860:4860::8888"')


def use_all_views(page: Page, folder: Path) -> None:
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.wait_for_selector("#attached figure")
    say(page, "What does the sign say?")
    assert replies(page) == ["WATER"]
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", SAMPLES / "sentence.wav")
    page.click("#start")
    with page.expect_download() as caught:
        page.get_by_role("button", name="json").click()
    caught.value.save_as(folder / "sentence.json")
    saved: dict[str, Any] = json.loads((folder / "sentence.json").read_text())
    assert [segment["text"] for segment in saved["segments"]] == [SPOKEN]
    page.click("#to-captions")
    page.click("#listen")
    wait_for_text(page, "#spoken", SPOKEN.rsplit(maxsplit=1)[-1])
    page.click("#end")
    page.wait_for_selector("#listen")
    assert page.locator("#caption-trouble").is_hidden()


def test_all_views_work(page: Page, tmp_path: Path):
    use_all_views(page, tmp_path)


@pytest.mark.usefixtures("launch")  # skips where Chromium is not installed
def test_all_views_work_where_only_the_loopback_device_is():
    run_with_loopback_only(f"{__file__}::{test_all_views_work.__name__}")


def test_the_browser_connects_to_nothing_but_the_server(
    launch: Any, devices: list[str], open_page: Any, server: Any, tmp_path: Path
):
    strace, chromium, calls = shutil.which("strace"), shutil.which("chromium"), tmp_path / "calls"
    if strace is None or chromium is None:
        pytest.skip("needs strace")
    program = tmp_path / "traced"
    program.write_text(TRACED.format(calls=calls, chromium=chromium))
    program.chmod(0o700)
    with launch(*devices, NO_LOOKUPS, program=str(program)) as browser:
        page = open_page(server.url, browser=browser)
        page.set_default_timeout(30_000)
        use_all_views(page, tmp_path)
        page.context.close()
    addressed = [call for call in calls.read_text().splitlines() if re.search(r"sin6?_addr|htons", call)]
    outside = [call for call in addressed if 'inet_addr("127.0.0.1")' not in call and not ROUTE.match(call)]
    assert len(addressed) > len(outside)
    assert outside == []
