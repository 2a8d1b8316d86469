"""The page in Chromium, from a file, without any network: its recordings can be played and its images are shown."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image

from edgephi_evaluate.report.page import page
from edgephi_evaluate.report.runs import read_reports
from support.evaluation import ScriptedEngine, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_DURATIONS = """Promise.all([...document.querySelectorAll('audio')].map(one => new Promise(done => {
    one.onloadedmetadata = () => done(one.duration); one.onerror = () => done(0); one.load(); })))"""


def _data(folder: Path) -> Path:
    folder.mkdir()
    stream = io.BytesIO()
    Image.new("RGB", (60, 30), "red").save(stream, "PNG")
    (folder / "a.png").write_bytes(stream.getvalue())
    soundfile.write(folder / "a.flac", np.zeros(12_000, np.float32), 8_000)
    lines = [{"id": str(n), "images": ["a.png"], "audio": ["a.flac"], "answers": ["<i>a</i>"]} for n in range(3)]
    (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return folder


@pytest.mark.browser
def test_recordings_play_and_images_show_from_one_file(tmp_path: Path, launch: Callable[..., Browser]):
    folder = run(ScriptedEngine(lambda number, text: "b"), _data(tmp_path / "data"), tmp_path / "run")
    (tmp_path / "page.html").write_text(page(read_reports((folder,), None)), encoding="utf-8")
    shutil.rmtree(tmp_path / "data")
    with launch() as browser:
        shown, problems = browser.new_page(), []
        shown.on("console", lambda message: problems.append(message.text))
        shown.on("request", lambda request: problems.append(request.url) if "://" in request.url[5:] else None)
        shown.goto((tmp_path / "page.html").as_uri())
        assert shown.evaluate(_DURATIONS) == [1.5] * 3
        assert shown.evaluate("[...document.images].map(one => one.naturalWidth)") == [60] * 3
        assert shown.locator("svg:visible").count() == 2
        assert shown.locator("main i").count() == 0
        assert [url for url in problems if "page.html" not in url] == []
