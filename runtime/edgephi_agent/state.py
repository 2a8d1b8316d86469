"""`state.json`: the one file that decides which release serves. Everything else follows from it at each start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgephi_agent.disk import DiskOperations
from edgephi_agent.json_values import decode, encode

STATE_NAME = "state.json"
CURRENT = "current"
RELEASES = "releases"
_MOST_BAD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The newest release that proved itself: no older one is accepted.

    Attributes:
        epoch: Version of the root metadata that last changed the keys of releases.
        counter: Of the release.
        name: Of the release; None before the first.
        created: Of the release; the clock is never taken to be earlier.
    """

    epoch: int = 0
    counter: int = 0
    name: str | None = None
    created: str = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRelease:
    """A release that failed here."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A release that has not proved itself yet.

    Attributes:
        name: Of the release.
        epoch: See Floor.
        tries: Starts of the service with it, but for those that ended with the machine.
        cuts: Starts that ended with the machine.
        boot: The machine's boot in which the last start was.
    """

    name: str
    epoch: int
    tries: int = 0
    cuts: int = 0
    boot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Which release serves, and what is known of others.

    Attributes:
        good: Proved itself; None before the first.
        previous: The one before; `rollback` returns to it.
        trial: None where none is on trial.
        floor: See Floor.
        bad: Those that failed here, the latest last.
    """

    good: str | None = None
    previous: str | None = None
    trial: Trial | None = None
    floor: Floor = field(default_factory=Floor)
    bad: tuple[BadRelease, ...] = ()

    @property
    def serving(self) -> str | None:
        """The release that `current` must name."""
        return self.good if self.trial is None else self.trial.name

    @property
    def kept(self) -> set[str]:
        """Releases that are not garbage."""
        return {name for name in (self.good, self.previous, self.serving) if name is not None}

    def why_bad(self, name: str) -> str | None:
        """Why a release failed here; None if it did not."""
        return next((one.why for one in self.bad if one.name == name), None)

    def without_trial(self, why: str | None = None) -> State:
        """After the release on trial was given up.

        Args:
            why: It failed; None where it may be installed again.
        """
        if self.trial is None or why is None:
            return replace(self, trial=None)
        others = tuple(one for one in self.bad if one.name != self.trial.name)
        bad = (*others, BadRelease(name=self.trial.name, why=why))[-_MOST_BAD:]
        return replace(self, trial=None, bad=bad)


def load_state(disk: DiskOperations) -> State:
    """The state; the first one where there is none.

    Raises:
        RefusedError: The file is damaged.
    """
    content = disk.read(STATE_NAME)
    return State() if content is None else decode(State, content, STATE_NAME)


def save_state(disk: DiskOperations, state: State) -> None:
    """Write it so that after a power cut the old or the new one is there, whole."""
    put(disk, STATE_NAME, encode(state))


def put(disk: DiskOperations, path: str, content: bytes) -> None:
    """Write a small file so that after a power cut its old or its new content is there, whole."""
    folder = path.rpartition("/")[0]
    fresh = f"{path}.new"
    disk.create(fresh, content)
    disk.sync_file(fresh)
    disk.rename(fresh, path)
    disk.sync_folder(folder)


def is_pointed(disk: DiskOperations, state: State) -> bool:
    """Whether `current` names the release that the state says."""
    return disk.read_link(CURRENT) == (None if state.serving is None else f"{RELEASES}/{state.serving}")


def point(disk: DiskOperations, state: State) -> None:
    """Make `current` name the release that the state says; the next start does it again if the power goes."""
    if state.serving is None:
        if disk.exists(CURRENT):
            disk.unlink(CURRENT)
        return
    if not is_pointed(disk, state):
        disk.symlink(f"{RELEASES}/{state.serving}", f"{CURRENT}.new")
        disk.rename(f"{CURRENT}.new", CURRENT)
