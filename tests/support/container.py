"""A Debian in a folder: its programs in a container of systemd-nspawn, with its own systemd where it is booted."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: `make appliance` prepares it: Debian with updaters, what the agent requires, and an application tree.
PLACE = Path(__file__).parents[2] / "build/appliance"
_NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network")
#: Where a container sees the folder that is given to it.
STICK = "/media/stick"
_AGENT = Path(__file__).parents[2] / "runtime/edgephi_agent"
#: Where Debian's Python finds packages.
_PACKAGES = "usr/lib/python3/dist-packages"
_BOOT_S = 90


def make_root(folder: Path) -> Path:
    """A copy of the prepared Debian, with this agent."""
    subprocess.run(["cp", "-a", str(PLACE / "root"), str(folder)], check=True)
    (folder / "etc/systemd/system/mender-client.service").symlink_to("/dev/null")  # asks for a server
    return add_agent(folder, PLACE / "agent")


def add_agent(root: Path, required: Path) -> Path:
    """Put this agent, and the packages in the folder of what it requires, where the root's Python finds them."""
    shutil.copytree(required, root / _PACKAGES, dirs_exist_ok=True)
    shutil.copytree(_AGENT, root / _PACKAGES / "edgephi_agent", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def run_in(
    root: Path, stick: Path, *command: object, binds: Sequence[tuple[Path, str]] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program in the folder's Debian, without a network.

    Args:
        root: The folder.
        stick: Is /media/stick there, read only.
        command: The program and its arguments.
        binds: Folders of this machine, and where the program sees them.
    """
    others = (f"--bind={folder}:{place}" for folder, place in binds)
    places = (f"--bind-ro={stick}:{STICK}", *others, f"--directory={root}")
    started = [*_NSPAWN, "--as-pid2", "--console=pipe", *places, *map(str, command)]
    return subprocess.run(started, capture_output=True, text=True, check=False, timeout=600)


class Machine:
    """A Debian that was booted.

    Args:
        root: Its folder.
        pid: Of its systemd, as this machine has it.
    """

    def __init__(self, root: Path, pid: int) -> None:
        self.root, self.pid = root, pid

    def path(self, path: str) -> Path:
        """What its programs see at an absolute path, such as a socket in /run."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        entered = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin", "LC_ALL": "C.UTF-8"}
        started = [*entered, *map(str, command)]
        return subprocess.run(started, env=environment, capture_output=True, text=True, check=False, timeout=600)

    def must(self, *command: object) -> str:
        """The stdout of a program that succeeds.

        Raises:
            AssertionError: It does not.
        """
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@contextmanager
def booted(root: Path, stick: Path, log: Path) -> Iterator[Machine]:
    """Boot the folder's Debian, and shut it down; see `run_in`.

    Raises:
        AssertionError: It does not come up.
    """
    command = [*_NSPAWN, "--boot", "--console=pipe", f"--bind-ro={stick}:{STICK}", f"--directory={root}"]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            machine = _up(root, process, log)
            yield machine
        finally:
            process.terminate()  # nspawn asks its systemd to shut down
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _up(root: Path, process: subprocess.Popen[bytes], log: Path) -> Machine:
    ends_s = time.monotonic() + _BOOT_S
    while time.monotonic() < ends_s and process.poll() is None:
        time.sleep(0.3)
        if (pid := _first_process(process.pid)) is None:
            continue
        machine = Machine(root, pid)
        state = machine.run("systemctl", "is-system-running").stdout.strip()
        if state in ("running", "degraded"):
            return machine
    raise AssertionError(log.read_text())


def _first_process(nspawn: int) -> int | None:
    """The process that is number 1 in the container."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "status").read_text()
                is_first = "\nNSpid:" in status and status.split("\nNSpid:")[1].split("\n")[0].split()[1:] == ["1"]
                if is_first and int(status.split("\nPPid:")[1].split()[0]) == nspawn:
                    return int(folder.name)
            except OSError:
                continue
    return None
