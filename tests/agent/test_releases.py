"""Releases on a real file system: installed, judged, replaced and removed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgephi_agent.disk import Disk
from edgephi_agent.errors import RefusedError, RequestError, SpaceError
from edgephi_agent.install import Candidate, install
from edgephi_agent.lifecycle import collect_garbage, commit, gate, give_up, roll_back
from edgephi_agent.state import load_state
from support.releases import MadeRelease, MemoryBundle, make_release

_SHARED = b"weights" * 1000


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def _made(counter: int, **changes: object) -> MadeRelease:
    files = {"model/w.bin": [_SHARED, b"%d" % counter], "model/s.bin": [_SHARED], "app/lib.so": [_SHARED]}
    return make_release(counter, files, **changes)


def _install(
    disk: Disk, made: MadeRelease, epoch: int = 1, *, retry: bool = False, without: tuple[int, ...] = ()
) -> str:
    candidate = Candidate(index=made.index, targets=b"signed", epoch=epoch)
    install(disk, candidate, MemoryBundle(made, without), retry=retry)
    return made.index.name


def _update(disk: Disk, made: MadeRelease, epoch: int = 1) -> str:
    name = _install(disk, made, epoch)
    gate(disk)
    commit(disk)
    return name


def test_a_release_serves_from_read_only_files_that_equal_ones_share(disk: Disk, tmp_path: Path):
    name = _update(disk, _made(1))
    assert os.readlink(tmp_path / "current") == f"releases/{name}"
    weights = tmp_path / "current/model/w.bin"
    assert weights.read_bytes() == _SHARED + b"1"
    assert stat.S_IMODE(weights.stat().st_mode) == 0o444
    assert stat.S_IMODE((tmp_path / "current/bin/probe").stat().st_mode) == 0o555
    second = _update(disk, _made(2))
    assert (tmp_path / f"releases/{second}/app/lib.so").samefile(tmp_path / f"releases/{name}/app/lib.so")


def test_no_file_of_a_model_has_a_second_link(disk: Disk, tmp_path: Path):
    """ONNX Runtime takes weights with one for an attack, and does not load the model."""
    made = make_release(1, {"model/a.bin": [_SHARED], "model/b.bin": [_SHARED], "app/c.so": [_SHARED]})
    for release in (made, make_release(2, {"model/a.bin": [_SHARED], "model/d.bin": [b"d"]})):
        name = _update(disk, release)
        for path in (tmp_path / f"releases/{name}/model").iterdir():
            assert path.stat().st_nlink == 1
            assert path.read_bytes() in (_SHARED, b"d")


def test_a_delta_needs_only_what_the_good_release_lacks(disk: Disk, tmp_path: Path):
    _update(disk, _made(1))
    made = _made(2)
    known = [number for number, chunk in enumerate(made.contents) if chunk != b"2"]
    name = _install(disk, made, without=tuple(known))
    assert (tmp_path / f"releases/{name}/model/w.bin").read_bytes() == _SHARED + b"2"


def test_a_chunk_that_is_rotten_here_is_taken_from_the_bundle(disk: Disk, tmp_path: Path):
    name = _update(disk, _made(1))
    weights = tmp_path / f"releases/{name}/model/w.bin"
    weights.chmod(0o644)
    weights.write_bytes(b"rotten" + _SHARED[6:] + b"1")
    second = _install(disk, make_release(2, {"model/w.bin": [_SHARED, b"2"]}))
    assert (tmp_path / f"releases/{second}/model/w.bin").read_bytes() == _SHARED + b"2"


def test_a_chunk_that_is_nowhere_or_damaged_leaves_the_store_as_it_was(disk: Disk, tmp_path: Path):
    _update(disk, _made(1))
    before = sorted(os.listdir(tmp_path / "store"))
    made = _made(2)
    last = len(made.contents) - 1 if made.contents[-1] == b"2" else made.contents.index(b"2")
    with pytest.raises(RefusedError, match="neither here nor in the bundle; install the full bundle"):
        _install(disk, made, without=(last,))
    damaged = MadeRelease(made.index, tuple(b"3" if one == b"2" else one for one in made.contents))
    with pytest.raises(RefusedError, match="is damaged in the bundle; copy the bundle again"):
        _install(disk, damaged)
    assert sorted(os.listdir(tmp_path / "store")) == before
    assert load_state(disk).trial is None


def test_what_was_filled_before_an_interruption_is_not_asked_for_again(disk: Disk):
    made = make_release(1, {"model/a.bin": [b"a" * 5000, b"b" * 5000], "model/c.bin": [b"c" * 5000]})
    lost = MadeRelease(made.index, (*made.contents[:-1], b"damaged"))
    with pytest.raises(RefusedError, match="damaged"):
        _install(disk, lost)
    bundle = MemoryBundle(made)
    install(disk, Candidate(index=made.index, targets=b"", epoch=1), bundle)
    assert bundle.read == [len(made.contents) - 1]


def test_twenty_updates_leave_two_releases_and_no_garbage(disk: Disk, tmp_path: Path):
    names = [_update(disk, _made(counter)) for counter in range(1, 21)]
    assert sorted(os.listdir(tmp_path / "releases")) == sorted(names[-2:])
    assert os.listdir(tmp_path / "incoming") == []
    assert len(os.listdir(tmp_path / "store")) == 2  # the probe and the library


def test_a_release_that_never_proves_itself_is_given_up_after_three_starts(disk: Disk):
    good, bad = _update(disk, _made(1)), _install(disk, _made(2))
    for tries in (1, 2, 3):
        state = gate(disk)
        assert state.trial is not None
        assert (state.serving, state.trial.tries) == (bad, tries)
    assert gate(disk).serving == good
    assert disk.names("releases") == [good]
    with pytest.raises(RefusedError, match=r"failed here \(did not prove itself in 3 starts\)"):
        _install(disk, _made(2))
    assert _install(disk, _made(2), retry=True) == bad
    commit(disk)
    assert load_state(disk).why_bad(bad) is None


def test_a_first_release_that_fails_leaves_nothing_to_serve(disk: Disk, tmp_path: Path):
    _install(disk, _made(1))
    assert give_up(disk, "does not answer as recorded").serving is None
    assert not os.path.lexists(tmp_path / "current")


def test_older_releases_and_other_content_of_the_same_counter_are_refused(disk: Disk):
    _update(disk, _made(5))
    with pytest.raises(RefusedError, match="counter 4 is older than 5, which ran here"):
        _install(disk, _made(4))
    with pytest.raises(RefusedError, match="counter 5 ran here with other content"):
        _install(disk, _made(5, version="5.1"))
    assert _install(disk, _made(5)) == load_state(disk).good  # the same one again is no error


def test_new_keys_begin_a_new_epoch_whose_counter_begins_anew(disk: Disk):
    _update(disk, _made(9))
    _update(disk, _made(2), epoch=2)
    assert (load_state(disk).floor.epoch, load_state(disk).floor.counter) == (2, 2)
    with pytest.raises(RefusedError, match="is older"):
        _install(disk, _made(10), epoch=1)


def test_rolling_back_returns_to_the_former_release_and_does_not_lower_the_floor(disk: Disk):
    with pytest.raises(RequestError, match="there is no former release"):
        roll_back(disk)
    first, second = _update(disk, _made(1)), _update(disk, _made(2))
    assert roll_back(disk).serving == first
    assert load_state(disk).floor.counter == 2
    collect_garbage(disk)
    assert roll_back(disk).serving == second  # and forward again


def test_a_release_that_revokes_older_ones_leaves_none_to_roll_back_to(disk: Disk):
    _update(disk, _made(1))
    second = _update(disk, _made(2, revokes_below=2))
    assert disk.names("releases") == [second]
    with pytest.raises(RequestError, match="there is no former release"):
        roll_back(disk)


def test_a_release_waits_for_the_trial_of_another_and_for_the_one_it_builds_on(disk: Disk):
    with pytest.raises(RefusedError, match="can be installed over 1 or newer"):
        _install(disk, _made(2, requires={"from_counter": 1}))
    _install(disk, _made(1))
    with pytest.raises(RequestError, match="is on trial; end it with"):
        _install(disk, _made(2))


def test_a_full_disk_is_noticed_before_anything_is_written(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Disk, "free_bytes", lambda _: 1000)
    with pytest.raises(SpaceError, match="the disk has 1,000"):
        _install(disk, _made(1))
    assert os.listdir(tmp_path / "store") == []


def test_two_agents_do_not_work_at_once(disk: Disk):
    with (
        disk.locked(),
        pytest.raises(RequestError, match="another edgephi-agent is at work"),
        Disk(disk.root).locked(),
    ):
        pass
