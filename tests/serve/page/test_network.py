"""The page needs nothing but its server: all views work where the loopback device is the only one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.namespace import run_with_loopback_only
from support.page_actions import SAMPLES, replies, say, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SPOKEN = "the small cat likes my red circle"


def test_all_views_work(page: Page, tmp_path: Path):
    page.set_input_files("#image-file", SAMPLES / "sign.png")
    page.wait_for_selector("#attached figure")
    say(page, "What does the sign say?")
    assert replies(page) == ["WATER"]
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", SAMPLES / "sentence.wav")
    page.click("#start")
    with page.expect_download() as caught:
        page.get_by_role("button", name="json").click()
    caught.value.save_as(tmp_path / "sentence.json")
    saved: dict[str, Any] = json.loads((tmp_path / "sentence.json").read_text())
    assert [segment["text"] for segment in saved["segments"]] == [SPOKEN]
    page.click("#to-captions")
    page.click("#listen")
    wait_for_text(page, "#spoken", SPOKEN.rsplit(maxsplit=1)[-1])
    page.click("#end")
    page.wait_for_selector("#listen")
    assert page.locator("#caption-trouble").is_hidden()


@pytest.mark.usefixtures("launch")  # skips where Chromium is not installed
def test_all_views_work_where_only_the_loopback_device_is():
    run_with_loopback_only(f"{__file__}::{test_all_views_work.__name__}")
