"""OCI layouts in the hands of the tools that they are for: skopeo copies them, podman runs the image."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.app_faults import with_fault
from support.container import PLACE
from support.releasing import release_of, run_pack
from support.uds_clients import ask

pytestmark = pytest.mark.appliance
_APP = PLACE / "app"
#: No more than the machine of the tests may have itself, whatever podman would ask for.
_LIMITS = ("--network=none", "--read-only", "--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:2048")


def _run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def _packed(bench: Path, output: Path, app: Path, *more: object) -> Path:
    done = run_pack("oci", *release_of(bench), "--app", app, "-o", output, *more)
    assert done.exit_code == 0, done.stderr
    return output


def _layers(place: str) -> list[str]:
    """Digests of an image or artifact."""
    return [layer["digest"] for layer in json.loads(_run("skopeo", "inspect", "--raw", place))["layers"]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of Debian with its Python, made from its folder."""
    folder = tmp_path_factory.mktemp("base")
    _run("tar", "--create", f"--file={folder / 'base.tar'}", f"--directory={PLACE / 'root'}", "--exclude=./dev", ".")
    _run("skopeo", "copy", f"tarball:{folder / 'base.tar'}", f"oci:{folder / 'oci'}:12")
    (folder / "base.tar").unlink()
    return folder / "oci"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Podman with images of its own."""
    folder = tmp_path_factory.mktemp("podman")
    places = (f"--root={folder}/storage", f"--runroot={folder}/run")
    program = ("podman", *places, "--cgroup-manager=cgroupfs", "--runtime=runc")
    yield program
    _run(*program, "system", "reset", "--force")


def test_skopeo_copies_a_modelpack_unchanged(bench: Path, tmp_path: Path):
    """A thousand files of an application tree are one layer: skopeo opens each layer, a registry is asked for each."""
    _packed(bench, tmp_path / "kiosk", _APP)
    _run("skopeo", "copy", f"oci:{tmp_path / 'kiosk'}:1.0", f"oci-archive:{tmp_path / 'kiosk.tar'}:1.0")
    _run("skopeo", "copy", f"oci-archive:{tmp_path / 'kiosk.tar'}:1.0", f"oci:{tmp_path / 'copy'}:1.0")
    layers = _layers(f"oci:{tmp_path / 'kiosk'}:1.0")
    assert layers == _layers(f"oci:{tmp_path / 'copy'}:1.0")
    assert len(layers) < 40
    copied = (path.name for path in (tmp_path / "copy/blobs/sha256").iterdir())
    assert {digest.removeprefix("sha256:") for digest in layers} <= set(copied)


def _image(podman: tuple[str, ...], layout: Path) -> str:
    return _run(*podman, "pull", "--quiet", f"oci:{layout}:1.0").strip()


def _run_image(podman: tuple[str, ...], image: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*podman, "run", "--rm", *_LIMITS, "--cap-drop=all", image, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


_PROBE = ("probe", "/opt/edgephi/model", "--cases", "/opt/edgephi/probe", "--json")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_an_image_passes_its_probe_and_serves(bench: Path, base: Path, podman: tuple[str, ...], tmp_path: Path):
    layout = _packed(bench, tmp_path / "image", _APP, "--base", base)
    image = _image(podman, layout)
    done = _run_image(podman, image, *_PROBE)
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stderr
    (tmp_path / "run").mkdir()
    name = _run(*podman, "run", "--detach", *_LIMITS, f"--volume={tmp_path / 'run'}:/run", image).strip()
    try:
        ends_s = time.monotonic() + 120
        while not _listens(tmp_path / "run/edgephi.socket") and time.monotonic() < ends_s:
            time.sleep(0.2)
        while (answer := ask(tmp_path / "run/edgephi.socket")) == "503" and time.monotonic() < ends_s:
            time.sleep(0.2)  # the model is loading
        assert answer == "200"
    finally:
        _run(*podman, "rm", "--force", name)


def test_an_image_that_answers_otherwise_is_exit_5(bench: Path, base: Path, podman: tuple[str, ...], tmp_path: Path):
    app = with_fault(_APP, tmp_path / "app", "refuses")
    done = _run_image(podman, _image(podman, _packed(bench, tmp_path / "image", app, "--base", base)), *_PROBE)
    assert (done.returncode, "other logits" in done.stderr) == (5, True)


def test_a_new_version_shares_the_layers_of_what_did_not_change(bench: Path, base: Path, tmp_path: Path):
    """A registry and a device transfer only what names the version."""
    first = _packed(bench, tmp_path / "1", _APP, "--base", base)
    second = _packed(bench, tmp_path / "2", _APP, "--base", base, "--version", "2.0")
    old, new = set(_layers(f"oci:{first}:1.0")), _layers(f"oci:{second}:2.0")
    fresh = [digest for digest in new if digest not in old]
    size = sum((second / "blobs/sha256" / digest.removeprefix("sha256:")).stat().st_size for digest in fresh)
    assert len(fresh) == 1
    assert size < 1_000_000
