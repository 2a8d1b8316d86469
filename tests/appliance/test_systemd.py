"""A device of Debian and its own systemd takes updates under load: no request is refused, bad releases are given up.

Times of the units are shorter here than on a device, so that a hang is found in seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.app_faults import with_fault
from support.container import PLACE, STICK, Machine, booted, make_root
from support.releasing import pack
from support.uds_clients import Clients, ask

pytestmark = pytest.mark.appliance
_APP = PLACE / "app"
_AGENT = ("python3", "-m", "edgephi_agent")
_UNITS = "/etc/systemd/system"
_SOCKET = "/run/edgephi/socket"
_NUM_REQUESTS = 1000
_WATCHDOG_S, _SOAK_S = 10, 20
_DROP_INS = {
    "edgephi.service": f"[Service]\nWatchdogSec={_WATCHDOG_S}\n",
    "edgephi-watch.service": "[Service]\nExecStart=\n"
    f"ExecStart=/usr/bin/python3 -m edgephi_agent watch --soak-s {_SOAK_S} --root /var/lib/edgephi\n",
}


@pytest.fixture(scope="module")
def stick(bench: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles: the first release, and after it a good one and one of each fault, each as what changed."""
    folder = tmp_path_factory.mktemp("stick")
    (folder / "1.root.json").write_bytes((bench / "keys/1.root.json").read_bytes())
    done = pack(bench, folder / "1", 1, "--app", _APP)
    assert done.exit_code == 0, done.stderr
    for counter, fault in enumerate((None, "crashes", "hangs", "refuses"), start=2):
        app = _APP if fault is None else with_fault(_APP, folder.parent / f"app-{fault}-{folder.name}", fault)
        done = pack(bench, folder / f"{counter}", counter, "--app", app, "--from", folder / "1")
        assert done.exit_code == 0, done.stderr
        (folder / f"{counter}").unlink()
    return folder


@pytest.fixture(scope="module")
def device(stick: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted device that serves the first release."""
    place = tmp_path_factory.mktemp("device")
    root = make_root(place / "root")
    with booted(root, stick, place / "log") as machine:
        machine.must("mkdir", "-p", "/var/lib/edgephi")
        machine.must(*_AGENT, "init", f"{STICK}/1.root.json")
        machine.must(*_AGENT, "install", f"{STICK}/1")
        machine.must(*_AGENT, "units", _UNITS)
        for name, text in _DROP_INS.items():
            (root / f"{_UNITS[1:]}/{name}.d").mkdir()
            (root / f"{_UNITS[1:]}/{name}.d/test.conf").write_text(text)
        machine.must("systemd-sysusers", f"{_UNITS}/edgephi.sysusers")
        machine.must("systemctl", "daemon-reload")
        units = ("edgephi.socket", "edgephi.service", "edgephi-verify.timer")
        machine.must("systemctl", "enable", "--now", *units)
        assert ask(machine.path(_SOCKET)) == "200"
        yield machine


def _status(device: Machine) -> dict[str, Any]:
    return json.loads(device.must(*_AGENT, "status", "--json"))


def _install(device: Machine, counter: int) -> str:
    """A release that is on trial; its name."""
    facts = json.loads(device.must(*_AGENT, "install", f"{STICK}/{counter}-from-1", "--trial-only", "--json"))
    assert facts["serving"].startswith(f"{counter}-")
    return str(facts["serving"])


def _journal(device: Machine) -> str:
    return device.run("journalctl", "--no-pager", "--lines=80").stdout


def _wait(device: Machine, holds: Callable[[dict[str, Any]], bool], seconds: float = 240) -> dict[str, Any]:
    ends_s = time.monotonic() + seconds
    while not holds(status := _status(device)):
        assert time.monotonic() < ends_s, (status, _journal(device))
        time.sleep(0.5)
    return status


def test_no_request_of_1000_is_refused_while_releases_change(device: Machine):
    """A change with two servers, then one with a single server; the release is kept once it has proved itself."""
    with Clients(device.path(_SOCKET), _NUM_REQUESTS) as clients:
        clients.wait_for(_NUM_REQUESTS * 4 // 5)
        name = _install(device, 2)
        device.must("systemctl", "start", "edgephi-swap")
        assert clients.num_left > 0
        clients.wait_for(min(clients.num_left, _NUM_REQUESTS // 3))
        device.must("systemctl", "restart", "edgephi")
        assert clients.finish() == {"200": _NUM_REQUESTS}, _journal(device)
    status = _wait(device, lambda status: status["trial"] is None)
    assert (status["good"], status["bad"]) == (name, [])
    print(f"the longest of {_NUM_REQUESTS:,} requests took {clients.longest_s:.2f} s")


@pytest.mark.parametrize(
    ("counter", "why"),
    [
        pytest.param(3, "did not prove itself in 3 starts", id="crashes"),
        pytest.param(4, "did not prove itself in 3 starts", id="hangs"),
        pytest.param(5, "its probe failed", id="answers otherwise"),
    ],
)
def test_a_bad_release_gives_way_to_the_former_one_by_itself(device: Machine, counter: int, why: str):
    former = _status(device)["good"]
    with Clients(device.path(_SOCKET), 100_000) as clients:
        name = _install(device, counter)
        device.must("systemctl", "restart", "--no-block", "edgephi")
        status = _wait(device, lambda status: status["trial"] is None)
        assert (status["serving"]["name"], status["good"]) == (former, former)
        assert [one["name"] for one in status["bad"] if one["why"].startswith(why)][-1:] == [name]
        assert ask(device.path(_SOCKET)) == "200"
        assert set(clients.stop()) == {"200"}
    print(f"the longest request took {clients.longest_s:.2f} s")
    again = device.run(*_AGENT, "install", f"{STICK}/{counter}-from-1")
    assert (again.returncode, "failed here" in again.stderr) == (3, True)


def test_a_device_that_changed_releases_has_no_garbage_and_no_damage(device: Machine):
    device.must(*_AGENT, "verify", "--deep")
    root = device.root / "var/lib/edgephi"
    kept = {_status(device)["good"], _status(device)["previous"]}
    assert {path.name for path in (root / "releases").iterdir()} == kept
    assert list((root / "incoming").iterdir()) == []


def test_the_server_has_no_network_and_no_other_socket(device: Machine):
    """As systemd sees it, and by the list of its own sockets."""
    shown = device.must("systemctl", "show", "-P", "MainPID", "edgephi").strip()
    sockets = device.must("nsenter", f"--target={shown}", "--net", "cat", "/proc/net/tcp", "/proc/net/udp")
    assert [line for line in sockets.splitlines() if line.strip()[:1].isdigit()] == []
