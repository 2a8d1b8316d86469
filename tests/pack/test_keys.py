"""Keys are made, replaced and withdrawn, and devices follow."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgephi_agent.errors import RefusedError
from edgephi_agent.trust import check_signature, follow_chain, trust_first_root
from edgephi_pack.keys import read_chain, read_key, release_signers, sign_index
from support.releasing import run_pack

_LATER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert run_pack("keys", "new", tmp_path / "keys").exit_code == 0
    return tmp_path / "keys"


def _signature(folder: Path) -> bytes:
    return sign_index(b"index", 1, _LATER, release_signers(folder, read_chain(folder)))


def test_keys_are_readable_by_their_owner_only_and_never_replaced(folder: Path):
    names = {path.name for path in folder.iterdir()}
    assert names == {"root-1.pem", "root-2.pem", "root-3.pem", "release-1-1.pem", "1.root.json"}
    assert stat.S_IMODE((folder / "release-1-1.pem").stat().st_mode) == 0o600
    again = run_pack("keys", "new", folder)
    assert (again.exit_code, "already exists" in again.stderr) == (2, True)
    assert run_pack("keys", "new", folder.parent / "more", "--threshold", "4").exit_code == 2


def test_a_device_follows_a_new_release_key_and_refuses_the_old_one(folder: Path):
    device, stolen = trust_first_root((folder / "1.root.json").read_bytes()), _signature(folder)
    check_signature(device, stolen, b"index")
    done = run_pack("keys", "rotate", folder)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == [str(folder / "release-2-1.pem"), str(folder / "2.root.json")]
    device = follow_chain(device, [(folder / "2.root.json").read_bytes()])
    assert device.epoch == 2  # counters begin anew
    with pytest.raises(RefusedError, match="not signed by the keys of this device"):
        check_signature(device, stolen, b"index")
    check_signature(device, _signature(folder), b"index")


def test_new_root_keys_are_signed_by_the_old_ones_and_serve_from_then_on(folder: Path):
    device, before = trust_first_root((folder / "1.root.json").read_bytes()), _signature(folder)
    assert run_pack("keys", "rotate", folder, "--role", "root").exit_code == 0
    for number in (1, 2, 3):
        (folder / f"root-{number}.pem").unlink()
    assert run_pack("keys", "rotate", folder).exit_code == 0
    device = follow_chain(device, [(folder / f"{number}.root.json").read_bytes() for number in (2, 3)])
    assert len(device.root.roles["root"].keyids) == 3
    with pytest.raises(RefusedError):
        check_signature(device, before, b"index")
    check_signature(device, _signature(folder), b"index")


def test_a_lost_root_key_is_withdrawn_while_enough_are_left(folder: Path):
    lost = read_key(folder / "root-3.pem").public_key.keyid
    assert run_pack("keys", "revoke", folder, folder / "root-3.pem").exit_code == 0
    assert lost not in read_chain(folder).root.roles["root"].keyids
    for name, match in (
        ("root-3.pem", "is trusted for nothing"),
        ("root-2.pem", "2 root keys must be left; use `edgephi-pack keys rotate`"),
        ("release-1-1.pem", "1 release keys must be left; use `edgephi-pack keys rotate`"),
    ):
        done = run_pack("keys", "revoke", folder, folder / name)
        assert (done.exit_code, match in done.stderr) == (2, True), done.stderr
    assert not (folder / "3.root.json").exists()


def test_without_enough_root_keys_nothing_is_written(folder: Path):
    for name in ("root-1.pem", "root-2.pem"):
        (folder / name).rename(folder.parent / name)
    before = sorted(folder.iterdir())
    done = run_pack("keys", "rotate", folder)
    assert (done.exit_code, "has 1 of 2 root keys that must sign; put them there" in done.stderr) == (2, True)
    assert sorted(folder.iterdir()) == before
