"""Several hundred malformed media files: each is answered or refused with one line, and the model stays as it was.

Warnings are errors here, and nothing may reach the standard streams: decoders written in C comment on damage there.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from edgephi import CapacityError, ConfigError, Model, SamplingOptions
from support.bad_media import bad_images, bad_recordings, photos, recordings
from support.bundles import small_bundle
from support.damage import damaged
from support.signals import random_audio, random_image

ONE = SamplingOptions(max_new_tokens=1)
GOOD = {"images": [random_image("good", 90, 60)], "audio": [(random_audio("good", 0.5, 16000), 16000)]}
_CUTS = (0.02, 0.1, 0.3, 0.6, 0.9, 0.99)
_SEEDS = 8


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(small_bundle(), threads=1) as opened:
        yield opened


def _good_reply(model: Model) -> tuple[int, ...]:
    model.clear_cache()
    return model.generate("what", **GOOD, options=SamplingOptions(max_new_tokens=6)).token_ids


def _answer_all(model: Model, kind: str, files: Mapping[str, bytes], folder: Path) -> Counter[str]:
    """Ask about each file; paths and bytes in turn."""
    outcomes: Counter[str] = Counter()
    for number, (name, data) in enumerate(files.items()):
        path = folder / f"{number}.bin"
        path.write_bytes(data)
        source, called = (path, str(path)) if number % 2 == 0 else (data, f"of {len(data):,} bytes")
        try:
            model.generate("what", **{kind: [source]}, options=ONE)
        except (ConfigError, CapacityError) as error:
            message = str(error)
            assert called in message, name
            assert message.isprintable(), name
            assert len(message) < 500, name
            outcomes["refused"] += 1
        else:
            outcomes["answered"] += 1
    return outcomes


def _variants(good: bytes, header_bytes: int) -> dict[str, bytes]:
    cut = {f"cut at {part}": good[: int(part * len(good))] for part in _CUTS}
    return cut | {f"seed {seed}": damaged(good, seed, header_bytes=header_bytes) for seed in range(_SEEDS)}


@pytest.mark.parametrize(
    ("kind", "name"), [("audio", name) for name in recordings()] + [("images", name) for name in photos()]
)
def test_damaged_files_of_every_format(model: Model, tmp_path: Path, capfd, kind: str, name: str):
    """One bad file in a folder of thousands must neither end the run nor change what the next file gives."""
    good = (recordings() if kind == "audio" else photos())[name]
    before = _good_reply(model)
    assert _answer_all(model, kind, {"undamaged": good}, tmp_path) == {"answered": 1}
    outcomes = _answer_all(model, kind, _variants(good, 120), tmp_path)
    assert (outcomes["refused"] > 0, outcomes.total()) == (True, len(_CUTS) + _SEEDS)
    assert _good_reply(model) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "make"), [("audio", bad_recordings), ("images", bad_images)])
def test_files_that_lie_about_what_they_are(model: Model, tmp_path: Path, capfd, kind: str, make):
    """A bomb of a few kilobytes must not take the memory of the device, nor a renamed file end in a traceback."""
    files, before = make(), _good_reply(model)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = _answer_all(model, kind, files, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken < 200 << 10  # KiB
    assert outcomes["refused"] > 0.8 * len(files)
    assert _good_reply(model) == before
    assert capfd.readouterr() == ("", "")
