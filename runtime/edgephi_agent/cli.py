"""The command `edgephi-agent`."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edgephi_agent.audit import problems, read_status
from edgephi_agent.bundle import opened
from edgephi_agent.device import check_device, read_device
from edgephi_agent.disk import Disk
from edgephi_agent.errors import AgentError, BusyError, RefusedError, RequestError, SpaceError
from edgephi_agent.install import check_candidate, install, read_index
from edgephi_agent.lifecycle import collect_garbage, gate, roll_back
from edgephi_agent.state import State, is_pointed, load_state
from edgephi_agent.trust import follow_chain, load_trust, save_trust, trust_first_root, verified_candidate
from edgephi_agent.unit_files import write_units
from edgephi_agent.watch import PATIENCE_S, judge, watch

_ROOT = Path("/var/lib/edgephi")
_DEVICE = Path("/etc/edgephi/device.json")
#: These lock the agent's folder themselves, where they must.
_UNLOCKED = ("gate", "status", "units", "watch")
_FULL = (errno.ENOSPC, errno.EDQUOT)
Facts = dict[str, Any]
_COMMANDS: dict[str, str] = {
    "init": "trust the keys of ROOT.json, version 1 of the root metadata, on a device that trusts none",
    "install": "install a bundle, run its probe, and keep it if it answers as recorded",
    "watch": "run the probe of the release on trial, and keep it or return to the former one",
    "gate": "count a start of the service; before each start (ExecStartPre=)",
    "rollback": "return to the former release",
    "status": "show what runs here",
    "verify": "compare installed files with what was signed",
    "units": "write the units with which systemd runs the server and this agent",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is the error's own."""
    options = _parser().parse_args(arguments)
    try:
        facts = _run(options)
    except AgentError as error:
        return _failed(options, type(error).__name__, str(error), error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        kind = SpaceError if error.errno in _FULL else AgentError
        text = f"{where}{error.strerror or error}; the release that served goes on"
        return _failed(options, kind.__name__, text, kind.exit_code)
    if options.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print("\n".join(_lines(facts)))
    return 0


def program() -> NoReturn:
    """The command as a process of its own."""
    sys.exit(main())


def _failed(options: argparse.Namespace, kind: str, message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    if options.json:
        print(json.dumps({"error": {"type": kind, "message": message, "exit_code": code}}, ensure_ascii=False))
    return code


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", type=Path, default=_ROOT, metavar="DIR", help=f"the agent's folder [{_ROOT}]")
    shared.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser = argparse.ArgumentParser(
        prog="edgephi-agent", description="Installs signed releases on a device without internet."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {name: commands.add_parser(name, parents=[shared], help=text) for name, text in _COMMANDS.items()}
    made["init"].add_argument("keys", type=Path, metavar="ROOT.json")
    one = made["install"]
    one.add_argument("bundle", help="a file, a folder, or - for stdin")
    one.add_argument("--device", type=Path, default=_DEVICE, metavar="FILE", help=f"this device's names [{_DEVICE}]")
    one.add_argument("--trial-only", action="store_true", help="leave the probe to `watch`, after the service started")
    one.add_argument("--accept-expired", action="store_true", help="install although the signature has expired")
    one.add_argument("--retry", action="store_true", help="install although this release failed here before")
    text = "keep an accepted release once the service was not started anew for so long [0]"
    made["watch"].add_argument("--soak-s", type=float, default=0.0, metavar="SECONDS", help=text)
    made["units"].add_argument("folder", type=Path, metavar="DIR", help="such as /etc/systemd/system")
    made["verify"].add_argument("--deep", action="store_true", help="read every file, instead of comparing sizes")
    return parser


def _run(options: argparse.Namespace) -> Facts:
    if not options.root.is_dir():
        raise RequestError(f"{options.root}: no such folder; make it, owned by root, or give --root")
    disk = Disk(options.root)
    run: Callable[[Disk, argparse.Namespace], Facts] = _RUNS[options.command]
    if options.command in _UNLOCKED:
        return run(disk, options)
    with disk.locked():
        return run(disk, options)


def _init(disk: Disk, options: argparse.Namespace) -> Facts:
    try:
        trusted = trust_first_root(options.keys.read_bytes())
    except OSError as error:
        raise RequestError(f"{options.keys}: cannot be read ({error.strerror}); give the root metadata") from None
    if disk.names("trust"):
        raise RequestError(f"{disk.root}: trusts keys already; new ones come with a bundle, signed by these")
    save_trust(disk, trusted)
    return {"trusted": sorted(trusted.release_keys), "root_version": trusted.root.version}


def _install(disk: Disk, options: argparse.Namespace) -> Facts:
    state, device = load_state(disk), read_device(options.device)
    with opened(options.bundle, sys.stdin.buffer) as bundle:
        trusted = follow_chain(load_trust(disk), bundle.roots)
        candidate = verified_candidate(
            trusted, bundle.targets, bundle.index, state.floor, accept_expired=options.accept_expired
        )
        release = candidate.index.release
        check_device(release, device)
        if state.good is not None and (good := read_index(disk, state.good).release).appliance != release.appliance:
            raise RefusedError(f"the bundle is for {release.appliance!r}, this device runs {good.appliance!r}")
        if candidate.index.name != state.good:
            check_candidate(state, candidate, retry=options.retry)
        save_trust(disk, trusted)
        bundle.trust_order(candidate.index)
        install(disk, candidate, bundle, retry=options.retry)
    if options.trial_only or load_state(disk).trial is None:
        return _facts(disk, load_state(disk))
    gate(disk)  # so that a probe that takes the power down is not run for ever
    return _facts(disk, judge(disk))


def _watch(disk: Disk, options: argparse.Namespace) -> Facts:
    return _facts(disk, watch(disk, options.soak_s))


def _gate(disk: Disk, _: argparse.Namespace) -> Facts:
    """Nothing is to be written of a release that has proved itself: it starts while a bundle is copied, for minutes,
    and from a disk that cannot be written any more.
    """
    try:
        with disk.locked(PATIENCE_S):
            return _facts(disk, gate(disk))
    except (BusyError, OSError) as error:
        state = load_state(disk)
        is_idle = isinstance(error, BusyError) or error.errno == errno.EROFS
        if not is_idle or state.trial is not None or not is_pointed(disk, state):
            raise
        return _facts(disk, state)


def _rollback(disk: Disk, _: argparse.Namespace) -> Facts:
    return _facts(disk, roll_back(disk))


def _status(disk: Disk, _: argparse.Namespace) -> Facts:
    return dataclasses.asdict(read_status(disk))


def _verify(disk: Disk, options: argparse.Namespace) -> Facts:
    found = list(problems(disk, deep=options.deep))
    if found:
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        raise RefusedError(found[0] + more)
    collect_garbage(disk)
    return {"verified": sorted(load_state(disk).kept), "deep": options.deep}


def _units(disk: Disk, options: argparse.Namespace) -> Facts:
    return {"units": write_units(disk.root, options.folder)}


def _facts(disk: Disk, state: State) -> Facts:
    version = None if state.serving is None else read_index(disk, state.serving).release.version
    trial = None if state.trial is None else dataclasses.asdict(state.trial)
    return {"serving": state.serving, "version": version, "previous": state.previous, "trial": trial}


def _lines(facts: Facts) -> list[str]:
    return [f"{name:<12} {_text(value)}" for name, value in facts.items()]


def _text(value: Any) -> str:
    if value is None or value in ([], ()):
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)


_RUNS: dict[str, Callable[[Disk, argparse.Namespace], Facts]] = {
    "init": _init,
    "install": _install,
    "watch": _watch,
    "gate": _gate,
    "rollback": _rollback,
    "status": _status,
    "verify": _verify,
    "units": _units,
}
