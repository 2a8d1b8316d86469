"""`edgephi prepare`: what an appliance's first start runs, and how somebody finds and frees gigabytes of a cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.base.file_lock import lock_alone
from support.bundles import small_bundle
from support.shell import invoke


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgephi" / "prefill"


def _folder() -> Path:
    return small_bundle(recipe="int4", prefill="derived")


def test_weights_are_derived_listed_and_deleted(cache: Path):
    assert invoke("prepare").stdout == "nothing is derived\n"
    done = invoke("prepare", _folder())
    assert (done.exit_code, done.stderr) == (0, "")
    (place,) = (path.parent for path in cache.glob("*/model.json"))
    assert done.stdout.startswith(f"{place} is there, after ")
    assert [word for word in (str(place), str(_folder())) if word not in invoke("prepare").stdout] == []
    assert invoke("prepare", _folder(), "--delete").stdout == f"deleted {place}\n"
    assert not place.exists()
    assert invoke("prepare", _folder(), "--delete").stdout == "nothing was derived\n"


def test_all_are_deleted_without_their_models():
    """A model that is gone still has its weights in the cache."""
    invoke("prepare", _folder())
    (one,) = json.loads(invoke("prepare", "--json").stdout)["derived"]
    assert (one["model"], one["bytes"] > 0) == (str(_folder()), True)
    assert json.loads(invoke("prepare", "--delete", "--json").stdout) == {"made": None, "deleted": [one["path"]]}
    assert json.loads(invoke("prepare", "--json").stdout) == {"derived": []}


def test_a_model_with_its_own_weights_needs_none():
    """So a script may prepare every model."""
    done = invoke("prepare", small_bundle(recipe="int4", prefill="int8"))
    assert (done.exit_code, "nothing is to be derived" in done.stdout) == (0, True)
    done = invoke("prepare", small_bundle(recipe="int4"))
    assert done.exit_code == 2
    assert "export it with --prefill derived" in done.stderr


def test_a_second_process_says_that_the_first_is_at_it(cache: Path):
    cache.mkdir(parents=True)
    with (cache / ".lock").open("wb") as lock:
        lock_alone(lock, "nobody else has it")
        done = invoke("prepare", _folder())
    assert done.exit_code == 4
    assert "another process derives weights" in done.stderr


def test_prompts_may_be_kept_from_deriving_weights(monkeypatch: pytest.MonkeyPatch):
    """By an option, and by the environment of an appliance whose disk is not to be written."""
    assert invoke("run", _folder(), "hello", "--prefill", "all").exit_code == 2
    monkeypatch.setenv("EDGEPHI_PREFILL", "all")
    done = invoke("run", _folder(), "hello")
    assert done.exit_code == 2
    assert "EDGEPHI_PREFILL" in done.stderr
