"""Who may release: thresholds, rotation, expiry, and every changed byte of metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest

from edgephi_agent.errors import RefusedError
from edgephi_agent.install import Candidate, check_candidate
from edgephi_agent.state import Floor, State
from edgephi_agent.trust import follow_chain, signers, trust_first_root, verified_candidate
from support.releases import make_release
from support.signing import key, root, targets

INDEX = make_release(7, {"app/a": [b"a"]}).index.content
_NEW_KEYS = {"releases": ("second",), "signed_by": ("root-b", "root-c")}


def _verify(
    roots: list[bytes] | None = None, signature: bytes | None = None, floor: Floor | None = None, index: bytes = INDEX
) -> Candidate:
    floor = floor or Floor(epoch=1, counter=6, name="6-x")
    trusted = follow_chain(trust_first_root(root()), [root()] if roots is None else roots)
    candidate = verified_candidate(trusted, targets(INDEX, 7) if signature is None else signature, index, floor)
    check_candidate(State(good="6-x", floor=floor), candidate)
    return candidate


def _same_key_twice() -> bytes:
    raw = json.loads(root(2, signed_by=("root-a",)))
    return json.dumps(raw | {"signatures": raw["signatures"] * 2}).encode()


REFUSED: dict[str, Callable[[], object]] = {
    "a foreign key": lambda: _verify(signature=targets(INDEX, 7, signed_by=("stranger",))),
    "no signature": lambda: _verify(signature=targets(INDEX, 7, signed_by=())),
    "an older counter": lambda: _verify(floor=Floor(epoch=1, counter=8, name="8-x")),
    "an expired signature": lambda: _verify(signature=targets(INDEX, 7, expires=datetime(2020, 1, 1, tzinfo=UTC))),
    "a signature that expired by the newest release's time": lambda: _verify(
        signature=targets(INDEX, 7, expires=datetime(2098, 1, 1, tzinfo=UTC)),
        floor=Floor(epoch=1, counter=6, name="6-x", created="2098-06-01T00:00:00Z"),
    ),
    "a root signed by one of two": lambda: _verify([root(), root(2, signed_by=("root-a",))]),
    "a root signed by one key twice": lambda: _verify([root(), _same_key_twice()]),
    "a stranger's root": lambda: _verify([root(), root(2, keys=("x", "y"), signed_by=("x", "y"))]),
    "a root that its own new keys did not sign": lambda: _verify([root(), root(2, keys=("x", "y"))]),
    "a root left out": lambda: _verify([root(), root(3)]),
    "the old key after rotation": lambda: _verify([root(), root(2, **_NEW_KEYS)]),
    "another first root": lambda: _verify([root(releases=("stranger",))]),
    "root metadata for the signature": lambda: _verify(signature=root()),
    "a signature for root metadata": lambda: _verify([root(), targets(INDEX, 2)]),
    "a signature of another index": lambda: _verify(index=INDEX.replace(b"7.0", b"7.1")),
    "a signature of another counter": lambda: _verify(signature=targets(INDEX, 8)),
    "a signature of another file": lambda: _verify(signature=targets(INDEX, 7, name="other.json")),
    "no JSON": lambda: _verify(signature=b"\0" * 99),
    "nothing": lambda: _verify(signature=b""),
}


def test_what_enough_keys_signed_is_accepted():
    assert _verify().epoch == 1
    trusted = follow_chain(trust_first_root(root()), [])
    assert signers(trusted, targets(INDEX, 7, signed_by=("release", "stranger"))) == (key("release").public_key.keyid,)


def test_after_rotation_a_lower_counter_is_accepted_because_the_epoch_is_new():
    """An inflated counter of a stolen key does no lasting harm."""
    candidate = _verify(
        [root(), root(2, **_NEW_KEYS)],
        targets(INDEX, 7, signed_by=("second",)),
        Floor(epoch=1, counter=2**31, name="x"),
    )
    assert candidate.epoch == 2


def test_a_root_that_changes_no_release_key_begins_no_epoch():
    assert _verify([root(), root(2), root(3, threshold=1, signed_by=("root-b", "root-c"))]).epoch == 1


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_not_be_trusted_is_refused(case: str):
    with pytest.raises(RefusedError):
        REFUSED[case]()


def _changed(content: bytes, step: int) -> list[bytes]:
    flips = [(place // 8, 1 << place % 8) for place in range(0, 8 * len(content), step)]
    return [content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :] for at, flip in flips]


def _accepted(step: int) -> tuple[int, int]:
    """Changed signatures and roots, and how many were accepted."""
    signature, second = targets(INDEX, 7, signed_by=("second",)), root(2, **_NEW_KEYS)
    first = trust_first_root(root())
    trusted = follow_chain(first, [second])
    tries: list[Callable[[], object]] = [
        partial(verified_candidate, trusted, one, INDEX, Floor()) for one in _changed(signature, step)
    ]
    tries += [partial(follow_chain, first, [one]) for one in _changed(second, step)]
    accepted = 0
    for attempt in tries:
        try:
            attempt()
        except RefusedError:
            continue
        accepted += 1
    return len(tries), accepted


def test_a_changed_bit_of_metadata_is_refused():
    assert _accepted(step=179)[1] == 0


@pytest.mark.slow
def test_every_changed_bit_of_metadata_is_refused():
    tries, accepted = _accepted(step=1)
    assert (tries > 10_000, accepted) == (True, 0)
