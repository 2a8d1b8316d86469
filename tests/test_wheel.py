"""What `pip install .` puts on a device: the files that git has, and nothing of earlier builds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("runtime", "export", "quantize", "benchmarks")


def _tracked() -> list[str]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_a_module_that_was_deleted_is_not_built_again(tmp_path: Path):
    """Setuptools packs whatever an earlier build left in build/lib; a removed module would live on."""
    pytest.importorskip("setuptools")
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = x\nversion = 1\n[options]\npackages = mine\n")
    for name in ("mine/__init__.py", "mine/kept.py", "build/lib/mine/deleted.py", "build/lib/gone/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    command = [sys.executable, "setup.py", "-q", "build"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    built = sorted(
        path.relative_to(tmp_path / "build/lib").as_posix() for path in (tmp_path / "build/lib").rglob("*.py")
    )
    assert built == ["mine/__init__.py", "mine/kept.py"]


@pytest.mark.slow
def test_the_wheel_holds_the_packages_as_git_has_them_and_nothing_else(tmp_path: Path):
    """Needs the package index, for setuptools."""
    for name in _tracked():
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "src" / name)
    for stale in ("build/lib/edgephi/deleted.py", "build/lib/tests/test_x.py", "models/nano/edgephi.json"):
        (tmp_path / "src" / stale).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / stale).write_text("stale")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check", "-w"]
    subprocess.run([*command, str(tmp_path), str(tmp_path / "src")], check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {name.partition("/")[2] for name in _tracked() if name.partition("/")[0] in SOURCES}
    data = (
        "edgephi_agent/units/",
        "edgephi_serve/page/",
        "edgephi_bench/report/templates/",
        "edgephi_export/fidelity/templates/",
    )
    wanted = {name for name in sources if name.endswith((".py", "py.typed")) or name.startswith(data)}
    assert packed == wanted
    assert {f"{package}/py.typed" for package in ("edgephi", "edgephi_export", "edgephi_bench")} <= packed
