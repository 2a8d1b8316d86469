"""`edgephi inspect`: what a folder is, without loading it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.cli.inspect import human_bytes
from support.bundles import copy_bundle, small_bundle
from support.shell import invoke, spawn


def test_people_see_what_is_in_the_folder():
    done = spawn("inspect", small_bundle())
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "text, vision, speech",
        "routed: ",
        "vision (rank 8)",
        "speech (rank 12)",
        "fp32",
        "decoder.onnx",
        "total",
    ):
        assert part in done.stdout


def test_programs_get_the_same_as_json():
    folder = small_bundle()
    facts = json.loads(invoke("inspect", folder, "--json").stdout)
    assert facts["modalities"] == ["text", "vision", "speech"]
    assert facts["adapters"]["mode"] == "routed"
    assert facts["decoder"]["vocabulary"] == 400
    assert facts["context"] == {"positions": 131072, "long_factors_beyond": 4096}
    for file in facts["files"]:
        assert (folder / file["path"]).stat().st_size == file["bytes"]
    assert facts["total_bytes"] == sum(file["bytes"] for file in facts["files"])


def test_a_text_model_shows_text_only():
    facts = json.loads(invoke("inspect", small_bundle("phi3"), "--json").stdout)
    assert (facts["modalities"], facts["adapters"]["mode"]) == (["text"], "none")


def test_hashes_are_checked_on_request(tmp_path: Path):
    folder = copy_bundle(small_bundle(), tmp_path / "m")
    assert "checked" in invoke("inspect", folder, "--check-hashes").stdout
    template = folder / "chat_template.jinja"
    template.write_bytes(template.read_bytes()[::-1])
    assert invoke("inspect", folder).exit_code == 0
    done = invoke("inspect", folder, "--check-hashes")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "chat_template.jinja: content differs" in done.stderr


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path):
    done = invoke("inspect", tmp_path)
    assert done.exit_code == 3
    assert "not an edgephi model folder" in done.stderr


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (7.2e12, "7,200.0 GB")]
)
def test_sizes_are_readable(count: int, text: str):
    assert human_bytes(count) == text
