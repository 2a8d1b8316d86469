"""The example of docs/serve.md, run as it is printed."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

from edgephi import Model, WindowRules
from support.bundles import nano_bundle
from support.realtime import SAMPLES

PAGE = Path(__file__).parents[3] / "docs" / "serve.md"


def test_the_example_writes_a_recording_down(server, tmp_path, monkeypatch, capsys):
    found = re.search(r"\n((?:    .*\n|\n)*? +with client\.realtime.*\n(?:    .*\n|\n)*)", PAGE.read_text())
    example = textwrap.dedent(found[1]).replace("http://127.0.0.1:8080", server.url)
    shutil.copy(SAMPLES / "sentence.wav", tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    with Model.load(nano_bundle(), threads=1) as nano:
        segments = nano.transcribe(SAMPLES / "sentence.wav", rules=WindowRules(pause_s=1000.0)).segments
    assert capsys.readouterr() == (segments[0].text, "")
