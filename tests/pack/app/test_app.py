"""The application tree: resolved for another machine, installed by hash, without what a device never reads."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi_pack.app.components import read_components
from edgephi_pack.app.lock import Lock, LockedPackage, read_lock
from edgephi_pack.app.resolve import own_requirements, resolve
from edgephi_pack.app.target import Target
from edgephi_pack.app.tree import make_app
from support.releasing import run_pack
from support.wheels import write_wheel

ARM = Target(arch="aarch64", python="3.11")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that pip finds."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    return folder


@pytest.mark.slow
def test_packages_are_resolved_for_the_device_and_not_for_this_machine(wheels: Path):
    for tag in ("cp311-cp311-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_28_x86_64"):
        write_wheel(wheels, "native", tag=tag)
    write_wheel(
        wheels, "top", requires=["native", "armour; platform_machine == 'aarch64'", "mine; sys_platform == 'win32'"]
    )
    write_wheel(wheels, "armour")
    lock = resolve(["top", "armour"], ARM)
    assert [one.name for one in lock.packages] == ["armour", "native", "top"]
    wheel = wheels / "native-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    assert lock.packages[1].sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert resolve(["native"], Target(arch="x86_64", python="3.11")).packages[0].sha256 != lock.packages[1].sha256
    with pytest.raises(EdgeError, match="pip cannot install these packages"):
        resolve(["native"], Target(arch="aarch64", python="3.12"))


@pytest.mark.slow
def test_what_only_downloads_is_left_out_with_all_that_it_brings(wheels: Path):
    write_wheel(wheels, "tokenizers", requires=["huggingface-hub", "kept"])
    write_wheel(wheels, "huggingface_hub", requires=["hf-xet"])
    write_wheel(wheels, "hf_xet")
    write_wheel(wheels, "kept")
    assert [one.name for one in resolve(["tokenizers"], ARM).packages] == ["kept", "tokenizers"]


def test_edgephis_own_requirements_are_those_of_its_metadata():
    names = {re.split("[<>]", line)[0] for line in own_requirements(ARM, ("cpu", "serve"))}
    assert {"numpy", "onnxruntime", "starlette", "click"} <= names
    assert not {"onnx", "tuf", "pytest"} & names


@pytest.mark.slow
def test_the_tree_has_what_a_device_reads_and_the_licence_of_everything(wheels: Path, tmp_path: Path):
    files = {
        "big/__init__.py": "", "big/tests/test_big.py": "", "big/code.h": "", "big/code.pyi": "", "big/data.bin": "d",
        "big-1.0.dist-info/licenses/LICENSE": "terms",
    }  # fmt: skip
    write_wheel(wheels, "big", files=files)
    lock = resolve(["big"], ARM)
    (tmp_path / "out").mkdir()
    made = make_app(lock, tmp_path / "out", {})
    app = tmp_path / "out/app"
    found = {str(path.relative_to(app)) for path in app.rglob("*") if path.is_file()}
    own = {path for path in found if path.startswith("edgephi")}
    assert found - own == {
        "big/__init__.py", "big/data.bin", "big-1.0.dist-info/METADATA", "big-1.0.dist-info/WHEEL",
        "big-1.0.dist-info/licenses/LICENSE",
    }  # fmt: skip
    assert {"edgephi/__init__.py", "edgephi_serve/page/index.html"} <= own
    assert "__pycache__" not in "".join(own)
    assert (tmp_path / "out/licences/big/licenses_LICENSE").read_text() == "terms"
    assert "big: MIT\n" in (tmp_path / "out/licences/THIRD-PARTY.txt").read_text()
    assert read_components(tmp_path / "out") == made
    assert read_lock(tmp_path / "out/app.lock") == lock


@pytest.mark.slow
def test_a_wheel_that_is_not_the_locked_one_is_refused(wheels: Path, tmp_path: Path):
    write_wheel(wheels, "top")
    lock = Lock(target=ARM, packages=(LockedPackage(name="top", version="1.0", sha256="0" * 64),))
    (tmp_path / "app.lock").write_text(lock.text())
    done = run_pack("app", tmp_path / "out", "--lock", tmp_path / "app.lock", "--json")
    assert (done.exit_code, "HASHES" in json.loads(done.stdout)["error"]["message"].upper()) == (1, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "files", "match"),
    [
        (("License: see the page",), None, "top states no licence that is known; read it and give --licence top=SPDX"),
        (("License-Expression: ISC",), {"top/__init__.py": ""}, "comes without the text of its licence"),
    ],
)
def test_a_licence_that_is_not_known_or_has_no_text_is_refused(
    wheels: Path, tmp_path: Path, metadata: tuple[str, ...], files: dict[str, str] | None, match: str
):
    write_wheel(wheels, "top", metadata=metadata, files=files)
    (tmp_path / "out").mkdir()
    lock = resolve(["top"], ARM)
    with pytest.raises(ConfigError, match=match):
        make_app(lock, tmp_path / "out", {})


@pytest.mark.parametrize(
    "text", ["", "# a list\nx==1", "# edgephi-pack lock: mips, Python 3.11, glibc 2.31\nx==1 --hash=sha256:" + "0" * 64]
)
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str):
    (tmp_path / "app.lock").write_text(text)
    with pytest.raises(ArtifactError, match=r"app\.lock: "):
        read_lock(tmp_path / "app.lock")
    assert run_pack("app", tmp_path / "out", "--lock", tmp_path / "gone").exit_code == 3


def test_a_machine_that_there_is_not_is_refused(tmp_path: Path):
    for option, value in (("--arch", "mips"), ("--python", "2.7"), ("--glibc", "new")):
        given = {"--arch": "aarch64"} | {option: value}
        arguments = [one for pair in given.items() for one in pair]
        assert run_pack("app", tmp_path / "out", *arguments).exit_code == 2
    assert run_pack("app", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()
