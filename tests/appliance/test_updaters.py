"""The hooks of docs/appliance.md as RAUC and Mender themselves run them, on a booted Debian with their packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.container import PLACE, STICK, Machine, booted, make_root
from support.hooks import HOOKS
from support.releasing import release_of, run_pack

pytestmark = pytest.mark.appliance
_SLOTS = "".join(f"[slot.system.{n}]\ndevice=/dev/null\ntype=raw\nbootname={name}\n" for n, name in enumerate("AB"))
_FILES = {
    "usr/local/bin/rauc-hook": HOOKS["RAUC"],
    "usr/local/bin/backend": '#!/bin/sh\necho "$@" >> /run/backend\n[ "$1" != get-primary ] || echo A\n'
    '[ "$1" != get-state ] || echo good\n',
    "etc/rauc/system.conf": "[system]\ncompatible=kiosk\nbootloader=custom\n"
    f"[handlers]\nbootloader-custom-backend=/usr/local/bin/backend\n{_SLOTS}",
    "etc/systemd/system/rauc.service.d/test.conf": "[Service]\nExecStart=\n"
    "ExecStart=/usr/bin/rauc --override-boot-slot=A service\n",
    "etc/mender/mender.conf": "{}",
    "etc/mender/artifact_info": "artifact_name=release-1\n",
    "data/mender/device_type": "device_type=kiosk\n",
}


@pytest.fixture(scope="module")
def stick(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stick")
    options = ("--app", PLACE / "app", "--maintainer", "Kiosk Makers <kiosk@example.org>", "-o", folder / "edgephi.deb")
    done = run_pack("deb", *release_of(bench), "--name", "edgephi", *options)
    assert done.exit_code == 0, done.stderr
    (folder / "ArtifactCommit_Enter_50_edgephi").write_text(HOOKS["Mender"])
    return folder


@pytest.fixture(scope="module")
def device(stick: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A device with the model in /opt/edgephi, as the hooks have it."""
    place = tmp_path_factory.mktemp("device")
    root = make_root(place / "root")
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    with booted(root, stick, place / "log") as machine:
        machine.must("dpkg", "--install", f"{STICK}/edgephi.deb")
        machine.must("ln", "-s", "/opt/edgephi/bin/edgephi", "/usr/bin/edgephi")
        yield machine


@pytest.fixture(params=[0, 5], ids=["accepted", "refused"])
def code(device: Machine, request: pytest.FixtureRequest) -> Iterator[int]:
    """What the probe says: as packed, or with half of the speech encoder gone."""
    place = device.root / "opt/edgephi/model/weights/speech.bin"
    content = place.read_bytes()
    if request.param:
        place.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    yield request.param
    place.write_bytes(content)


def test_rauc_marks_the_slot_by_the_probe(device: Machine, code: int):
    (device.path("/run/backend")).unlink(missing_ok=True)
    done = device.run("rauc-hook")
    assert done.returncode == code, done.stdout + done.stderr
    calls = device.path("/run/backend").read_text().splitlines()
    assert [call for call in calls if call.startswith("set-state")] == [f"set-state A {'bad' if code else 'good'}"]


def test_mender_commits_or_rolls_back_by_the_probe(device: Machine, code: int):
    """An update of a single file, with the hook as its state script."""
    name = f"release-{code}"
    for file, text in (("marker", name), ("dest_dir", "/opt"), ("filename", "marker"), ("permissions", "644")):
        (device.root / f"root/{file}").write_text(f"{text}\n")
    (device.root / "opt/marker").write_text("former\n")
    files = [one for file in ("marker", "dest_dir", "filename", "permissions") for one in ("-f", f"/root/{file}")]
    described = ("-T", "single-file", "-n", name, "-t", "kiosk", "-o", "/root/update.mender")
    script = ("-s", f"{STICK}/ArtifactCommit_Enter_50_edgephi")
    device.must("mender-artifact", "write", "module-image", *described, *files, *script)
    device.must("mender", "install", "/root/update.mender")
    done = device.run("mender", "commit")
    assert (done.returncode == 0) == (code == 0), done.stdout + done.stderr
    assert (device.root / "opt/marker").read_text() == ("former\n" if code else f"{name}\n"), done.stderr
