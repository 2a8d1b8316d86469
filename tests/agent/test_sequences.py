"""Any order of installs, starts, verdicts, rollbacks and power cuts keeps the promises of test_power_cuts.py."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from edgephi_agent.errors import AgentError
from edgephi_agent.index import SignedIndex
from edgephi_agent.install import Candidate, install, read_index
from edgephi_agent.lifecycle import collect_garbage, commit, gate, give_up, roll_back
from edgephi_agent.state import load_state
from support.releases import MadeRelease, MemoryBundle, make_release, sha256
from support.simulated_disk import PowerLossError, SimulatedDisk, Survival

_SHARED = random.Random(1).randbytes(1536)
_SURVIVALS: tuple[Survival, ...] = ("none", "all", "some", "some")
_NUM_SEQUENCES, _NUM_STEPS = 250, 14


def _made(counter: int) -> MadeRelease:
    own = b"%d" % counter
    files = {"model/w.bin": [_SHARED, own * 300], "app/a.py": [own], "app/b.so": [_SHARED[:700]]}
    return make_release(counter, files, revokes_below=counter if counter % 5 == 0 else 0)


RELEASES = {counter: _made(counter) for counter in range(1, 11)}
COUNTERS = {made.index.name: counter for counter, made in RELEASES.items()}


def _is_accepted(counter: int) -> bool:
    """What the probe of this release finds."""
    return counter % 3 != 0


class Device:
    """A device, and what has happened to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk, self.boot, self.floor, self.counts = SimulatedDisk(), 0, 0, Counter[str]()

    def step(self) -> None:
        """Something happens; now and then the power goes meanwhile."""
        name = self.rng.choice([*_STEPS])
        if self.rng.random() < 0.3:
            self.disk.crash_at = self.disk.num_operations + self.rng.randrange(40)
        try:
            _STEPS[name](self)
            self.counts[name] += 1
        except AgentError:
            self.counts["refused"] += 1
        except PowerLossError:
            self.counts["cut"] += 1
            self.lose_power()
        self.disk.crash_at = None

    def lose_power(self) -> None:
        self.disk.crash_at = None
        self.disk.lose_power(self.rng.choice(_SURVIVALS), self.rng.randrange(1 << 30))
        self.boot += 1
        self.start()

    def start(self) -> None:
        gate(self.disk, f"boot {self.boot}")

    def install(self) -> None:
        made = RELEASES[self.rng.choice([*RELEASES])]
        candidate = Candidate(index=made.index, targets=b"signed", epoch=1)
        install(self.disk, candidate, MemoryBundle(made), retry=self.rng.random() < 0.2)

    def judge(self) -> None:
        trial = load_state(self.disk).trial
        if trial is not None:
            self.start()  # the service runs before it is judged
            if (trial := load_state(self.disk).trial) is None:
                return
            if _is_accepted(COUNTERS[trial.name]):
                commit(self.disk)
            else:
                give_up(self.disk, "does not answer as recorded")

    def check(self) -> None:
        state = load_state(self.disk)
        serving = None if state.serving is None else f"releases/{state.serving}"
        assert self.disk.read_link("current") == serving, "P1: current"
        for name in state.kept:
            content = self.disk.read(f"releases/{name}/release.json")
            assert content is not None, "P1: no index"
            for file in SignedIndex.read(content).release.files:
                assert sha256(self.disk.read(f"releases/{name}/{file.path}") or b"") == file.sha256, "P1: a file"
        for name in self.disk.names("store"):
            assert sha256(self.disk.read(f"store/{name}") or b"") == name.partition(".")[0], "P2"
        assert state.floor.counter >= self.floor, "P3"
        self.floor = state.floor.counter
        assert all(_is_accepted(COUNTERS[name]) for name in (state.good, state.previous) if name), "P5"

    def finish(self) -> None:
        """P4 and P6: the next good release ends well, whatever was there before, and nothing else is left."""
        with suppress(AgentError):
            self.judge()
        made = make_release(11, {"app/a.py": [b"last"], "app/b.so": [_SHARED[:700]]})
        if load_state(self.disk).trial is not None:
            roll_back(self.disk)
        install(self.disk, Candidate(index=made.index, targets=b"signed", epoch=1), MemoryBundle(made))
        self.start()
        commit(self.disk)
        state = load_state(self.disk)
        assert state.good == made.index.name, "P4"
        files = [file for name in state.kept for file in read_index(self.disk, name).release.files]
        assert set(self.disk.names("store")) == {file.store_name for file in files if file.is_shared}, "P6: store"
        assert set(self.disk.names("releases")) == state.kept, "P6: releases"
        assert self.disk.names("incoming") == [], "P6: incoming"


_STEPS: dict[str, Callable[[Device], object]] = {
    "install": Device.install,
    "start": Device.start,
    "judge": Device.judge,
    "judge again": Device.judge,
    "roll back": lambda device: roll_back(device.disk),
    "collect garbage": lambda device: collect_garbage(device.disk),
    "power cut": Device.lose_power,
}


def test_no_order_of_events_breaks_a_promise():
    counts: Counter[str] = Counter()
    for seed in range(_NUM_SEQUENCES):
        device = Device(seed)
        for _ in range(_NUM_STEPS):
            device.step()
            device.check()
        device.finish()
        counts += device.counts
    assert min(counts[name] for name in [*_STEPS, "refused", "cut"]) > 50, counts
