"""A release on trial: each start of the service counts, and it becomes the good one or is given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgephi_agent.disk import DiskOperations
from edgephi_agent.errors import RequestError
from edgephi_agent.install import INCOMING, STORE, read_index
from edgephi_agent.state import RELEASES, Floor, State, load_state, point, save_state

MOST_TRIES = 3
#: Tries that ended with the machine: somebody pulls the plug, or the release takes the power down.
MOST_CUTS = 10
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_boot() -> str:
    """Another text after each boot of the machine; empty where the system has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def gate(disk: DiskOperations, boot: str | None = None) -> State:
    """Before each start of the service: count a try, give the release up after three, mend `current`.

    A crash, a hang that a watchdog ends and a failed probe all come back here. A try during which the machine was
    started anew is no failure of the release, so it does not count; after ten such the former release serves again, and
    this one may be installed once more.

    Args:
        disk: Of the device.
        boot: See `this_boot`, which is the default.
    """
    state, boot = load_state(disk), this_boot() if boot is None else boot
    trial = state.trial
    if trial is not None:
        if trial.tries and trial.boot != boot:
            trial = replace(trial, tries=trial.tries - 1, cuts=trial.cuts + 1)
        if trial.tries >= MOST_TRIES:
            return give_up(disk, f"did not prove itself in {MOST_TRIES} starts")
        if trial.cuts >= MOST_CUTS:
            return _end_trial(disk, state.without_trial())
        state = replace(state, trial=replace(trial, tries=trial.tries + 1, boot=boot))
        save_state(disk, state)
    point(disk, state)
    return state


def commit(disk: DiskOperations) -> State:
    """The release on trial has proved itself: it is the good one, and none older is accepted any more."""
    state = load_state(disk)
    if state.trial is None:
        return state
    release, floor = read_index(disk, state.trial.name).release, state.floor
    previous = state.good
    if previous is not None and read_index(disk, previous).release.counter < release.revokes_below:
        previous = None
    risen = Floor(
        epoch=state.trial.epoch,
        counter=release.counter,
        name=state.trial.name,
        created=max(floor.created, release.created),
    )
    if (risen.epoch, risen.counter) < (floor.epoch, floor.counter):
        risen = floor
    state = replace(state, good=state.trial.name, previous=previous, trial=None, floor=risen)
    save_state(disk, state)
    point(disk, state)
    collect_garbage(disk)
    return state


def give_up(disk: DiskOperations, why: str) -> State:
    """The release on trial failed: the good one serves again, and this one is refused from now on."""
    return _end_trial(disk, load_state(disk).without_trial(why))


def _end_trial(disk: DiskOperations, state: State) -> State:
    save_state(disk, state)
    point(disk, state)
    collect_garbage(disk)
    return state


def roll_back(disk: DiskOperations) -> State:
    """Return to the release before, at an operator's wish; the counter stays where it is.

    Raises:
        RequestError: There is none to return to.
    """
    state = load_state(disk)
    if state.trial is not None:
        return give_up(disk, "rolled back by an operator")
    if state.previous is None:
        raise RequestError("there is no former release on this device; install one")
    state = replace(state, good=state.previous, previous=state.good)
    save_state(disk, state)
    point(disk, state)
    return state


def collect_garbage(disk: DiskOperations) -> None:
    """Remove what no release of the state needs; an interruption leaves the rest to the next time."""
    state = load_state(disk)
    for name in disk.names(RELEASES):
        if name not in state.kept:
            if not name.startswith("."):
                disk.rename(f"{RELEASES}/{name}", f"{RELEASES}/.gone-{name}")
                name = f".gone-{name}"  # noqa: PLW2901 - the same folder
            _remove(disk, f"{RELEASES}/{name}")
    for name in disk.names(INCOMING):
        _remove(disk, f"{INCOMING}/{name}")
    for name in disk.names(STORE):
        if disk.num_links(f"{STORE}/{name}") == 1:
            disk.unlink(f"{STORE}/{name}")


def _remove(disk: DiskOperations, folder: str) -> None:
    for name in disk.names(folder):
        path = f"{folder}/{name}"
        if disk.is_folder(path):
            _remove(disk, path)
        else:
            disk.unlink(path)
    disk.remove_folder(folder)
