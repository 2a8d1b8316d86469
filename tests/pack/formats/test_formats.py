"""Debian packages and OCI layouts, read by the tools that they are for where these are installed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_pack.app.components import Components
from edgephi_pack.app.target import Target
from edgephi_pack.formats.deb import DebFacts, write_deb
from edgephi_pack.formats.oci import ImageFacts, write_image, write_modelpack
from edgephi_pack.tree import TreeFile

_WHEN = datetime(2026, 9, 21, tzinfo=UTC)
_ARM = Components(target=Target(arch="aarch64", python="3.11"), components=())
_DEB = DebFacts(name="kiosk", version="1.0", maintainer="Kiosk Makers <kiosk@example.org>", created=_WHEN)
_IMAGE = ImageFacts(name="kiosk", version="1.0", created=_WHEN, arch="aarch64")
_LONG = "app/" + "a" * 60 + "/" + "b" * 60 + ".py"


@pytest.fixture
def files(tmp_path: Path) -> tuple[TreeFile, ...]:
    (tmp_path / "w.bin").write_bytes(b"weights" * 1000)
    return (
        TreeFile(_LONG, 0o444, b"long"),
        TreeFile("bin/edgephi", 0o555, b"#!/bin/sh\nexit ${PROBE_CODE:-0}\n"),
        TreeFile("model/weights/w.bin", 0o444, tmp_path / "w.bin"),
    )


def _deb(path: Path, files: tuple[TreeFile, ...], components: Components | None) -> Path:
    with path.open("wb") as stream:
        write_deb(stream, files, components, _DEB)
    return path


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_dpkg_reads_the_package(tmp_path: Path, files: tuple[TreeFile, ...]):
    package = _deb(tmp_path / "kiosk.deb", files, _ARM)
    field = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
    assert "Architecture: arm64\n" in field
    assert "Depends: python3 (>= 3.11), python3 (<< 3.12), libc6 (>= 2.31)\n" in field
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path / "tree"], check=True, capture_output=True)
    root = tmp_path / "tree"
    assert (root / "opt/kiosk/model/weights/w.bin").read_bytes() == b"weights" * 1000
    for line in (root / "DEBIAN/md5sums").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.md5((root / name).read_bytes()).hexdigest() == digest
    assert len((root / "DEBIAN/md5sums").read_text().splitlines()) == 3


def test_the_package_counts_as_installed_once_the_probe_accepts(tmp_path: Path, files: tuple[TreeFile, ...]):
    with _deb(tmp_path / "kiosk.deb", files, None).open("rb") as stream:
        stream.seek(8 + 60 + 4 + 60)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            scripts = {member.name: archive.extractfile(member).read().decode() for member in archive}
    assert "Architecture: all\n" in scripts["./control"]
    assert "Depends" not in scripts["./control"]
    script = scripts["./postinst"].replace("/opt/kiosk", str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/edgephi").write_bytes(files[1].source)
    (tmp_path / "bin/edgephi").chmod(0o555)
    for code in (0, 5):
        done = subprocess.run(["sh", "-c", script, "postinst", "configure"], env={"PROBE_CODE": str(code)}, check=False)
        assert done.returncode == code


def test_the_same_release_gives_the_same_package(tmp_path: Path, files: tuple[TreeFile, ...]):
    assert _deb(tmp_path / "a", files, _ARM).read_bytes() == _deb(tmp_path / "b", files, _ARM).read_bytes()


@pytest.mark.parametrize("change", [{"name": "Kiosk"}, {"version": "new"}, {"maintainer": "me"}])
def test_what_debian_has_no_place_for_is_refused(change: dict[str, str]):
    good = {"name": "kiosk", "version": "1", "maintainer": "me <me@example.org>"}
    with pytest.raises(ConfigError, match="is no"):
        DebFacts(**(good | change), created=_WHEN)


def _blob(layout: Path, descriptor: dict[str, str]) -> bytes:
    content = (layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert "sha256:" + hashlib.sha256(content).hexdigest() == descriptor["digest"]
    assert len(content) == descriptor["size"]
    return content


def _manifest(layout: Path) -> dict:
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return json.loads(_blob(layout, entry))


def _members(folder: Path, content: bytes) -> dict[str, tuple[int, float, bytes]]:
    """Mode, time and bytes of each file of a tar."""
    (folder / "layer.tar").write_bytes(content)
    with tarfile.open(folder / "layer.tar") as archive:
        return {one.name: (one.mode, one.mtime, archive.extractfile(one).read()) for one in archive}


def test_a_modelpack_has_a_layer_for_each_file_of_the_model_and_one_for_each_other_folder(
    tmp_path: Path, files: tuple[TreeFile, ...]
):
    write_modelpack(tmp_path / "out", files, _IMAGE)
    manifest = _manifest(tmp_path / "out")
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    found = {
        layer["annotations"]["org.cncf.model.filepath"]: (layer["mediaType"][27:], _blob(tmp_path / "out", layer))
        for layer in manifest["layers"]
    }
    assert found["model/weights/w.bin"] == ("weight.v1.raw", b"weights" * 1000)
    assert {name: kind for name, (kind, _) in found.items() if not name.startswith("model/")} == {
        "app": "code.v1.tar",
        "bin": "code.v1.tar",
    }
    assert _members(tmp_path, found["app"][1]) == {_LONG: (0o444, 0, b"long")}


def _base(folder: Path, arch: str = "arm64") -> Path:
    """A layout with one empty layer."""
    facts = ImageFacts(name="base", version="1", created=_WHEN, arch="aarch64")
    write_modelpack(folder, (TreeFile("app/base", 0o444, b""),), facts)
    manifest = _manifest(folder)
    layer = manifest["layers"][0]
    config = {"architecture": arch, "os": "linux", "config": {"Env": ["A=b"]},
              "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}  # fmt: skip
    for value, key in ((config, "config"), (manifest, None)):
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(content)
        entry = {"mediaType": "x", "digest": f"sha256:{digest}", "size": len(content)}
        if key:
            manifest[key] = entry
        else:
            (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return folder


def test_an_image_has_the_layers_of_its_base_and_serves_the_model(tmp_path: Path, files: tuple[TreeFile, ...]):
    write_image(tmp_path / "out", files, _IMAGE, _base(tmp_path / "base"))
    manifest = _manifest(tmp_path / "out")
    config = json.loads(_blob(tmp_path / "out", manifest["config"]))
    assert config["config"]["Entrypoint"] == ["/opt/edgephi/bin/edgephi"]
    assert config["config"]["Env"] == ["A=b"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    layers = [_members(tmp_path, _blob(tmp_path / "out", layer)) for layer in manifest["layers"][1:]]
    paths = [[f"opt/edgephi/{_LONG}"], ["opt/edgephi/model/weights/w.bin"], ["opt/edgephi/bin/edgephi"]]
    assert [list(layer) for layer in layers] == paths
    assert layers[2]["opt/edgephi/bin/edgephi"][:2] == (0o555, 0)


def test_what_stays_the_same_is_the_same_layer_in_the_next_version(tmp_path: Path, files: tuple[TreeFile, ...]):
    """A registry and a device then transfer what changed; each large file has a layer of its own."""
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(64 << 20)
    large = TreeFile("model/large.bin", 0o444, tmp_path / "large")
    later = ImageFacts(name="kiosk", version="2.0", created=_WHEN + timedelta(days=9), arch="aarch64")
    base = _base(tmp_path / "base")
    write_image(tmp_path / "1", (*files, large), _IMAGE, base)
    write_image(tmp_path / "2", (*files, large, TreeFile("about/new", 0o444, b"new")), later, base)
    first, second = (_manifest(tmp_path / name)["layers"] for name in "12")
    assert second[:-1] == first
    assert [layer["size"] > 64 << 20 for layer in first] == [False, False, True, False, False]


def test_more_layers_than_a_container_can_have_are_refused(tmp_path: Path, files: tuple[TreeFile, ...]):
    base = _base(tmp_path / "base")
    manifest = _manifest(base)
    manifest["layers"] *= 125
    content = json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest()
    (base / "blobs/sha256" / digest).write_bytes(content)
    (base / "index.json").write_text(json.dumps({"manifests": [{"digest": f"sha256:{digest}"}]}))
    with pytest.raises(ConfigError, match="gives an image of 128 layers, containers have 127"):
        write_image(tmp_path / "out", files, _IMAGE, base)


def test_a_base_for_another_processor_or_none_at_all_is_refused(tmp_path: Path, files: tuple[TreeFile, ...]):
    with pytest.raises(ConfigError, match="is for amd64, the release for arm64"):
        write_image(tmp_path / "out", files, _IMAGE, _base(tmp_path / "base", "amd64"))
    (tmp_path / "none").mkdir()
    (tmp_path / "none/index.json").write_text('{"manifests": []}')
    with pytest.raises(ArtifactError, match="is no OCI layout with one image"):
        write_image(tmp_path / "out2", files, _IMAGE, tmp_path / "none")
