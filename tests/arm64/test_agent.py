"""The agent and its probe on an arm64 device, by emulation, with Debian's own Python (`make arm64-agent`)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.app_faults import with_fault
from support.container import add_agent
from support.releasing import make_nano_bench, pack

PLACE = Path(__file__).parents[2] / "build/arm64"
pytestmark = [pytest.mark.arm64, pytest.mark.slow]
_DEADLINE_S = 1200
#: Programs for arm64 are given to the emulator by the kernel, in this process's user namespace (Linux 6.7).
_ENTER = r"""
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  elf='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$elf:$mask:$(command -v qemu-aarch64-static):F" > /proc/sys/fs/binfmt_misc/register
fi
exec chroot "$@"
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nano with its record for one sample of each mode, made on this machine, and keys. Read only."""
    place = tmp_path_factory.mktemp("bench")
    return make_nano_bench(place, one_of_each_mode=True)


@pytest.fixture(scope="module")
def device(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a device with the agent, which trusts the keys."""
    root = tmp_path_factory.mktemp("device") / "root"
    subprocess.run(["cp", "-a", str(PLACE / "root"), str(root)], check=True)
    add_agent(root, PLACE / "agent")
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "var/lib/edgephi").mkdir()
    shutil.copyfile(bench / "keys/1.root.json", root / "root/1.root.json")
    code, facts = _agent(root, "init", "/root/1.root.json")
    assert code == 0, facts
    return root


def _agent(root: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", _ENTER, "sh", str(root)]
    program = ["/usr/bin/python3", "-m", "edgephi_agent", *arguments, "--json"]
    environment = {"PATH": "/usr/bin:/usr/sbin:/bin", "QEMU_CPU": "cortex-a76", "HOME": "/root"}
    done = subprocess.run(
        [*command, *program], env=environment, capture_output=True, text=True, check=False, timeout=2 * _DEADLINE_S
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def _install(bench: Path, device: Path, counter: int, app: Path) -> tuple[int, dict[str, Any]]:
    done = pack(bench, device / "root/one", counter, "--app", app, "--probe-deadline-s", _DEADLINE_S)
    assert done.exit_code == 0, done.stderr
    try:
        return _agent(device, "install", "/root/one")
    finally:
        (device / "root/one").unlink()


def test_an_arm64_device_keeps_a_release_that_answers_and_gives_up_one_that_does_not(
    bench: Path, device: Path, tmp_path: Path
):
    code, facts = _install(bench, device, 1, PLACE / "app")
    assert (code, facts.get("trial")) == (0, None), facts
    good = facts["serving"]
    code, facts = _install(bench, device, 2, with_fault(PLACE / "app", tmp_path / "app", "refuses"))
    assert (code, "did not pass its probe (error: other logits)" in facts["error"]["message"]) == (5, True)
    status = _agent(device, "status")[1]
    assert (status["serving"]["name"], status["good"], len(status["bad"])) == (good, good, 1)
    assert _agent(device, "verify", "--deep") == (0, {"verified": [good], "deep": True})


def test_a_release_for_another_processor_is_refused(bench: Path, device: Path):
    done = pack(bench, device / "root/foreign", 9, "--arch", "x86_64")
    assert done.exit_code == 0, done.stderr
    code, facts = _agent(device, "install", "/root/foreign")
    assert (code, facts["error"]["message"][:49]) == (3, "the bundle is for x86_64, this device is aarch64;")
