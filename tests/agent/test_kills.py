"""The agent is killed at random operations of an update on a real file system; then the update is run again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edgephi_agent.disk import Disk
from edgephi_agent.install import Candidate, install, read_index
from edgephi_agent.lifecycle import commit, gate
from edgephi_agent.state import load_state
from support.releases import MadeRelease, MemoryBundle, make_release, sha256

_RNG = random.Random(3)
_SHARED = _RNG.randbytes(20_000)
_CHANGES = ("make_folder", "create", "allocate", "write", "set_mode", "sync_file", "sync_folder", "sync_all", "rename",
            "link", "symlink", "unlink", "remove_folder")  # fmt: skip


def _made(counter: int) -> MadeRelease:
    own = random.Random(counter).randbytes(3000)
    return make_release(1 + counter % 28, {"model/w.bin": [_SHARED, own], "app/a.py": [own[:500]]}, counter=counter)


class DeadlyDisk(Disk):
    """Kills its process before one operation."""

    def __init__(self, root: Path, deadly: int) -> None:
        super().__init__(root)
        left = [deadly]

        def counted(change: Callable[..., None]) -> Callable[..., None]:
            def run(*arguments: object) -> None:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                change(*arguments)

            return run

        for name in _CHANGES:
            setattr(self, name, counted(getattr(self, name)))


def _update(disk: Disk, made: MadeRelease) -> None:
    install(disk, Candidate(index=made.index, targets=b"", epoch=1), MemoryBundle(made))
    gate(disk)
    commit(disk)


def _killed(root: Path, made: MadeRelease, deadly: int) -> bool:
    """Whether a process that runs the update was killed, and not done before."""
    child = os.fork()
    if child == 0:
        try:
            _update(DeadlyDisk(root, deadly), made)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _check(disk: Disk) -> None:
    state = load_state(disk)
    assert state.good is not None
    for name in state.kept:
        for file in read_index(disk, name).release.files:
            assert sha256(disk.path(f"releases/{name}/{file.path}").read_bytes()) == file.sha256
    for name in disk.names("store"):
        assert sha256(disk.path(f"store/{name}").read_bytes()) == name.partition(".")[0]


def _run(root: Path, kills: int) -> int:
    """Kill so often; the number of updates that were completed meanwhile."""
    disk, counter, done = Disk(root), 1, 0
    _update(disk, _made(counter))
    while kills:
        if _killed(root, _made(counter + 1), _RNG.randrange(60)):
            kills -= 1
        if (trial := load_state(disk).trial) is not None and trial.tries > 2:
            commit(disk)  # or the start gate would give a good release up, as it must
        _check(disk)
        if load_state(disk).floor.counter == counter + 1:
            counter, done = counter + 1, done + 1
    _update(disk, _made(counter + 1))
    assert len(disk.names("releases")) == 2
    assert disk.names("incoming") == []
    return done


def test_kills_leave_a_device_that_can_go_on(tmp_path: Path):
    _run(tmp_path, kills=25)


@pytest.mark.slow
def test_1000_kills_leave_a_device_that_can_go_on(tmp_path: Path):
    assert _run(tmp_path, kills=1000) > 50
