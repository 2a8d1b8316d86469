"""A changed number in `edgephi.json` would move an angle, a scale or an offset, and the model would answer wrongly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.bundle.manifest import Manifest
from edgephi.bundle.manifest_checksum import CHECKSUM
from support.bundles import copy_bundle, described, nano_bundle, small_bundle
from support.shell import invoke


def _text() -> str:
    return (small_bundle() / MANIFEST_NAME).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", [small_bundle, nano_bundle])
def test_no_changed_digit_loads(folder: Callable[[], Path]):
    text = (folder() / MANIFEST_NAME).read_text(encoding="utf-8")
    places = [match.start() for match in re.finditer(r"\d", text)]
    for place in np.random.default_rng(7).choice(places, 300, replace=False):
        changed = text[:place] + str(int(text[place]) % 9 + 1) + text[place + 1 :]
        if json.loads(changed) == json.loads(text):
            continue  # such as a last digit below a float's resolution
        with pytest.raises(ArtifactError):
            Manifest.from_json(changed, MANIFEST_NAME)


@pytest.mark.parametrize("seed", range(100))
def test_no_four_changed_bytes_load(seed: int):
    data = _text().encode()
    rng = np.random.default_rng(seed)
    place = int(rng.integers(len(data) - 4))
    changed = bytes(data[:place] + rng.integers(33, 126, 4, np.uint8).tobytes() + data[place + 4 :])
    with pytest.raises(ArtifactError):
        Manifest.from_json(changed.decode(), MANIFEST_NAME)


def test_a_command_says_it_in_one_line_and_does_not_answer(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    theta = Bundle(folder).manifest.rope.theta
    (folder / MANIFEST_NAME).write_text(_text().replace(f'"theta": {theta}', f'"theta": {theta + 1}'))
    done = invoke("run", folder, "hello")
    assert (done.exit_code, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "edgephi.json: its values are not those that were written; copy the model again" in line


def test_spaces_and_the_order_of_keys_are_no_damage():
    raw = json.loads(_text())
    again = json.dumps(dict(reversed(raw.items())))
    assert Manifest.from_json(again, "again") == Manifest.from_json(_text(), "first")


def test_a_description_of_an_older_version_has_none_and_loads(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    (folder / MANIFEST_NAME).write_text(json.dumps(described(folder)))
    assert CHECKSUM not in (folder / MANIFEST_NAME).read_text()
    assert Bundle(folder).manifest == Bundle(small_bundle()).manifest
