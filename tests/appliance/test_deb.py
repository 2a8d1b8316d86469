"""The Debian package, installed, asked and removed by Debian's own dpkg, on a Debian of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.app_faults import with_fault
from support.container import PLACE, STICK, make_root, run_in
from support.releasing import release_of, run_pack

pytestmark = pytest.mark.appliance
_APP = PLACE / "app"
_STATUS = ("dpkg-query", "--show", "--showformat=${Status}", "kiosk")


@pytest.fixture(scope="module")
def stick(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package, and one whose model is refused on the device."""
    folder = tmp_path_factory.mktemp("stick")
    refusing = with_fault(_APP, folder.parent / f"app-{folder.name}", "refuses")
    for name, app in (("good.deb", _APP), ("refused.deb", refusing)):
        options = ("--app", app, "--maintainer", "Kiosk Makers <kiosk@example.org>", "-o", folder / name)
        done = run_pack("deb", *release_of(bench), *options)
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def test_the_package_is_installed_once_its_probe_passed_and_leaves_nothing_when_removed(root: Path, stick: Path):
    done = run_in(root, stick, "dpkg", "--install", f"{STICK}/good.deb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_in(root, stick, *_STATUS).stdout == "install ok installed"
    assert run_in(root, stick, "dpkg", "--verify", "kiosk").stdout == ""
    asked = ("/opt/kiosk/bin/edgephi", "run", "/opt/kiosk/model", "What number is shown?", "--image")
    done = run_in(root, stick, *asked, "/opt/kiosk/probe/number.png")
    assert (done.returncode, done.stdout.strip()) == (0, "29"), done.stderr
    assert run_in(root, stick, "dpkg", "--purge", "kiosk").returncode == 0
    assert not (root / "opt/kiosk").exists()


def test_a_package_whose_probe_is_refused_stays_unconfigured(root: Path, stick: Path):
    done = run_in(root, stick, "dpkg", "--install", f"{STICK}/refused.deb")
    assert (done.returncode, "other logits" in done.stderr) == (1, True), done.stderr
    assert run_in(root, stick, *_STATUS).stdout == "install ok half-configured"
    done = run_in(root, stick, "dpkg", "--install", f"{STICK}/good.deb")  # a mended package takes its place
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_in(root, stick, *_STATUS).stdout == "install ok installed"
