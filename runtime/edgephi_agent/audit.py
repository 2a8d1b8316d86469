"""What runs here, signed by whom, and whether every file is still the signed one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgephi_agent.disk import Disk
from edgephi_agent.errors import RefusedError
from edgephi_agent.install import STORE, TARGETS_NAME, file_sha256, read_index
from edgephi_agent.state import RELEASES, BadRelease, Floor, State, Trial, load_state
from edgephi_agent.trust import TrustedRoot, check_signature, load_trust, signers
from edgephi_agent.watch import ProbeReport, last_report


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStatus:
    """An installed release; the fields are those of its index."""

    name: str
    appliance: str
    version: str
    counter: int
    created: str
    signed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `edgephi-agent status --json` prints.

    Attributes:
        serving: The release that `current` names; None where none does.
        good: Its name is None before the first proof.
        previous: What `rollback` returns to.
        trial: The release that has not proved itself.
        floor: No release below is accepted.
        bad: Releases that failed here.
        last_probe: The report of the last probe.
        store_bytes: Of all files of all releases.
        free_bytes: Left on the disk.
    """

    serving: ReleaseStatus | None
    good: str | None
    previous: str | None
    trial: Trial | None
    floor: Floor
    bad: tuple[BadRelease, ...]
    last_probe: ProbeReport | None
    store_bytes: int
    free_bytes: int


def read_status(disk: Disk) -> Status:
    """The status of this device.

    It takes no lock, so a release may be given up and removed while it is read: then it is read again.

    Raises:
        RequestError: It trusts no keys yet.
        RefusedError: A file that decides is damaged.
    """
    state, trusted = load_state(disk), load_trust(disk)
    while True:
        try:
            return _status(disk, state, trusted)
        except RefusedError:
            former, state = state, load_state(disk)
            if state == former:
                raise


def _status(disk: Disk, state: State, trusted: TrustedRoot) -> Status:
    return Status(
        serving=None if state.serving is None else _release_status(disk, state.serving, trusted),
        good=state.good,
        previous=state.previous,
        trial=state.trial,
        floor=state.floor,
        bad=state.bad,
        last_probe=last_report(disk),
        store_bytes=sum(disk.size(f"{STORE}/{name}") or 0 for name in disk.names(STORE)),
        free_bytes=disk.free_bytes(),
    )


def _release_status(disk: Disk, name: str, trusted: TrustedRoot) -> ReleaseStatus:
    release = read_index(disk, name).release
    return ReleaseStatus(
        name=name,
        appliance=release.appliance,
        version=release.version,
        counter=release.counter,
        created=release.created,
        signed_by=signers(trusted, disk.read(f"{RELEASES}/{name}/{TARGETS_NAME}") or b""),
    )


def problems(disk: Disk, *, deep: bool) -> Iterator[str]:
    """A line for each file of the kept releases that is not the signed one.

    Args:
        disk: Of the device.
        deep: Read every file, instead of comparing sizes.

    Raises:
        RequestError: The device trusts no keys yet.
        RefusedError: The state is damaged.
    """
    state, trusted = load_state(disk), load_trust(disk)
    for name in sorted(state.kept):
        try:
            yield from _release_problems(disk, state, name, trusted, deep)
        except RefusedError as error:
            yield f"{name}: {error}"


def _release_problems(disk: Disk, state: State, name: str, trusted: TrustedRoot, deep: bool) -> Iterator[str]:
    folder = f"{RELEASES}/{name}"
    index = read_index(disk, name)
    if index.name != name:
        yield f"{folder}: its index is of {index.name}; install the release again"
    if name == state.serving:  # former releases may be signed by keys that were replaced
        check_signature(trusted, disk.read(f"{folder}/{TARGETS_NAME}") or b"", index.content)
    for file in index.release.files:
        path = f"{folder}/{file.path}"
        if disk.size(path) != file.bytes:
            yield f"{path}: is not {file.bytes:,} bytes long; install the release again"
        elif deep and file_sha256(disk, path) != file.sha256:
            yield f"{path}: is not the signed file; install the release again"
