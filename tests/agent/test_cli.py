"""`edgephi-agent` as an installer and an operator use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgephi_agent.cli import main
from edgephi_agent.disk import Disk
from edgephi_agent.index import SignedIndex
from edgephi_agent.install import Candidate, install, read_index
from edgephi_agent.lifecycle import give_up
from support.releases import PROBE_PATH, MadeRelease, MemoryBundle, make_release
from support.signing import entries_of, key, root, write_bundle, write_folder

_ACCEPTS = b"#!/bin/sh\ntest -e model/w.bin\n"
_REFUSES = b"#!/bin/sh\necho 'a logit differs' >&2; exit 5\n"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The folder of a device that trusts the keys of the tests."""
    (tmp_path / "root.json").write_bytes(root())
    (tmp_path / "device").mkdir()
    assert main(["init", str(tmp_path / "root.json"), "--root", str(tmp_path / "device")]) == 0
    return tmp_path / "device"


def _made(counter: int, script: bytes = _ACCEPTS, **changes: Any) -> MadeRelease:
    return make_release(counter, {PROBE_PATH: [script], "model/w.bin": [b"w" * 2000, b"%d" % counter]}, **changes)


def _run(capsys: pytest.CaptureFixture[str], device: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON; what is on stderr is in the JSON too."""
    capsys.readouterr()
    names = ["--device", str(device.parent / "device.json")] if arguments[0] == "install" else []
    code = main([*map(str, arguments), "--root", str(device), *names, "--json"])
    shown = capsys.readouterr()
    facts: dict[str, Any] = json.loads(shown.out)
    assert ("error" in facts) == (code != 0)
    assert shown.err == (f"error: {facts['error']['message']}\n" if code else "")
    return code, facts


def test_a_release_that_answers_as_recorded_is_kept(capsys: pytest.CaptureFixture[str], device: Path):
    made = _made(1)
    bundle = write_bundle(device.parent / "one.edgephi", made)
    code, facts = _run(capsys, device, "install", bundle)
    assert (code, facts["serving"], facts["trial"]) == (0, made.index.name, None)
    _, status = _run(capsys, device, "status")
    assert status["serving"]["version"] == "1.0"
    assert status["serving"]["signed_by"] == [key("release").public_key.keyid]
    assert (status["floor"]["counter"], status["last_probe"]["exit_code"]) == (1, 0)
    assert status["free_bytes"] > 0
    assert _run(capsys, device, "install", bundle)[0] == 0  # again is no error


def test_the_agents_folder_may_be_given_relative_to_the_present_one(device: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(device.parent)
    assert main(["install", str(write_bundle(device.parent / "one", _made(1))), "--root", device.name]) == 0


def test_a_release_that_answers_otherwise_is_exit_5_and_the_former_one_serves(
    capsys: pytest.CaptureFixture[str], device: Path
):
    good, bad = _made(1), _made(2, _REFUSES)
    _run(capsys, device, "install", write_bundle(device.parent / "one", good))
    bundle = write_bundle(device.parent / "two", bad)
    code, facts = _run(capsys, device, "install", bundle)
    assert (code, facts["error"]["type"]) == (5, "ProbeError")
    assert "did not pass its probe (a logit differs)" in facts["error"]["message"]
    _, status = _run(capsys, device, "status")
    assert (status["serving"]["name"], status["floor"]["counter"]) == (good.index.name, 1)
    assert status["bad"] == [{"name": bad.index.name, "why": "its probe failed: a logit differs"}]
    code, facts = _run(capsys, device, "install", bundle)
    assert (code, "failed here" in facts["error"]["message"]) == (3, True)
    assert _run(capsys, device, "install", bundle, "--retry")[0] == 5


def test_a_status_is_read_again_where_the_release_on_trial_is_removed_meanwhile(
    capsys: pytest.CaptureFixture[str], device: Path, monkeypatch: pytest.MonkeyPatch
):
    good, bad = _made(1), _made(2)
    _run(capsys, device, "install", write_bundle(device.parent / "one", good))
    disk = Disk(device)
    install(disk, Candidate(index=bad.index, targets=b"signed", epoch=1), MemoryBundle(bad))

    def given_up_before(disk: Disk, name: str) -> SignedIndex:
        if name == bad.index.name:
            give_up(disk, "it crashed")
        return read_index(disk, name)

    monkeypatch.setattr("edgephi_agent.audit.read_index", given_up_before)
    _, status = _run(capsys, device, "status")
    assert (status["serving"]["name"], status["trial"]) == (good.index.name, None)
    (device / "releases" / good.index.name / "release.json").unlink()
    code, facts = _run(capsys, device, "status")
    assert (code, facts["error"]["type"]) == (3, "RefusedError")


@pytest.mark.parametrize(
    ("probe", "match"),
    [
        (b"#!/bin/sh\nsleep 60 & sleep 60\n", "not done after 1 s"),
        (b"#!/no/such/program\n", "cannot be started"),
        (b"#!/bin/sh\nkill -9 $$\n", "exit code -9"),
    ],
)
def test_a_probe_that_hangs_or_dies_is_a_failed_one(
    capsys: pytest.CaptureFixture[str], device: Path, probe: bytes, match: str
):
    made = _made(1, probe, probe={"command": [PROBE_PATH], "deadline_s": 1})
    code, facts = _run(capsys, device, "install", write_bundle(device.parent / "one", made))
    assert (code, match in facts["error"]["message"]) == (5, True)
    assert _run(capsys, device, "status")[1]["serving"] is None


def test_a_service_starts_with_the_release_before_it_is_judged(capsys: pytest.CaptureFixture[str], device: Path):
    first, second = _made(1), _made(2)
    _run(capsys, device, "install", write_bundle(device.parent / "one", first))
    facts = _run(capsys, device, "install", write_bundle(device.parent / "two", second), "--trial-only")[1]
    assert (facts["serving"], facts["trial"]["tries"]) == (second.index.name, 0)
    assert _run(capsys, device, "gate")[1]["trial"]["tries"] == 1
    facts = _run(capsys, device, "watch")[1]
    assert (facts["serving"], facts["previous"], facts["trial"]) == (second.index.name, first.index.name, None)
    assert _run(capsys, device, "rollback")[1]["serving"] == first.index.name


def test_a_bundle_comes_as_a_folder_or_through_a_pipe(capsys: pytest.CaptureFixture[str], device: Path):
    folder = write_folder(device.parent / "stick", entries_of(_made(1)))
    assert _run(capsys, device, "install", folder)[0] == 0
    bundle = write_bundle(device.parent / "two", _made(2))
    command = [sys.executable, "-m", "edgephi_agent", "install", "-", "--root", str(device), "--json"]
    with bundle.open("rb") as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["version"]) == (0, "2.0"), done.stderr


def test_damage_of_an_installed_file_is_exit_3(capsys: pytest.CaptureFixture[str], device: Path):
    _run(capsys, device, "install", write_bundle(device.parent / "one", _made(1)))
    assert _run(capsys, device, "verify", "--deep")[0] == 0
    weights = device / "current/model/w.bin"
    weights.chmod(0o644)
    weights.write_bytes(b"W" + weights.read_bytes()[1:])
    assert _run(capsys, device, "verify")[0] == 0  # the size is the same
    code, facts = _run(capsys, device, "verify", "--deep")
    assert (code, "model/w.bin: is not the signed file; install the release again" in facts["error"]["message"]) == (
        3,
        True,
    )
    weights.write_bytes(b"short")
    assert _run(capsys, device, "verify")[0] == 3


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({"appliance": "other"}, {"appliance": "test"}, 3, "is for 'other', this device is 'test'"),
    ({"audience": {"fleets": ["us"]}}, {"fleet": "eu"}, 3, "for other fleets or devices"),
    ({"audience": {"devices": ["d7"]}}, {}, 3, "for other fleets or devices"),
    ({"requires": {"arch": "sparc"}}, {}, 3, "the bundle is for sparc"),
    ({"requires": {"python": "2.7"}}, {}, 4, "needs Python 2.7"),
    ({"requires": {"memory_bytes": 1 << 60}}, {}, 4, "bytes of memory, this device has"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "device_json", "code", "match"), REFUSALS, ids=[row[3][:25] for row in REFUSALS])
def test_a_release_for_others_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], device: Path, changes: Any, device_json: Any, code: int, match: str
):
    (device.parent / "device.json").write_text(json.dumps(device_json))
    bundle = write_bundle(device.parent / "one", _made(1, **changes))
    found, facts = _run(capsys, device, "install", bundle)
    assert (found, match in facts["error"]["message"]) == (code, True), facts
    assert not (device / "store").exists()


def test_a_release_for_this_fleet_is_installed(capsys: pytest.CaptureFixture[str], device: Path):
    (device.parent / "device.json").write_text('{"fleet": "eu", "device": "d1"}')
    bundle = write_bundle(device.parent / "one", _made(1, audience={"fleets": ["eu", "us"]}))
    assert _run(capsys, device, "install", bundle)[0] == 0


def test_bad_requests_are_one_line(capsys: pytest.CaptureFixture[str], device: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "gone", ("status",), 2, "no such folder; make it"),
        (tmp_path / "empty", ("status",), 2, "trusts no keys yet; run `edgephi-agent init"),
        (device, ("init", tmp_path / "root.json"), 2, "trusts keys already"),
        (device, ("init", tmp_path / "nowhere.json"), 2, "cannot be read"),
        (device, ("install", tmp_path / "nowhere"), 2, "cannot be read (No such file or directory)"),
        (device, ("install", tmp_path / "root.json"), 3, "no plain file"),
        (device, ("rollback",), 2, "there is no former release"),
    ]
    for place, arguments, code, match in cases:
        found, facts = _run(capsys, place, *arguments)
        assert (found, match in facts["error"]["message"]) == (code, True), facts
    assert main(["status", "--root", str(device)]) == 0
    assert "serving      none" in capsys.readouterr().out
