"""Thousands of audio files of all formats: joined, cut, padded, tagged, with any sizes in their headers."""

from __future__ import annotations

import pytest

from edgephi.audio.decoding import Waveform, load_audio
from edgephi.base.errors import ConfigError
from support.audio_fuzz import Case, cases


def _load(data: bytes) -> Waveform | str:
    """The samples, or why there are none."""
    try:
        return load_audio(data)
    except ConfigError as error:
        return str(error)


def _check(case: Case, where: str) -> None:
    """What the maker knows of the file must be what comes of it."""
    waveform = _load(case.data)
    if isinstance(waveform, str):
        assert case.outcome in ("refused", "either"), f"{where}: refused, {waveform}"
        assert "\n" not in waveform
        return
    assert case.outcome != "refused", f"{where}: taken for whole"
    least = case.seconds - case.tolerance_s - case.missing_s
    assert least - 1e-4 <= waveform.duration_s <= case.seconds + case.tolerance_s + 1e-4, where
    if case.outcome in ("whole", "noted"):
        assert bool(waveform.notes) == (case.outcome == "noted"), f"{where}: {waveform.notes}"


def test_no_file_is_read_in_part_and_no_intact_one_is_refused():
    """A part of a recording with exit 0 is text that nobody misses until it is needed."""
    for number, case in enumerate(cases(20261127, 550)):
        _check(case, f"{number} {case.name}")


@pytest.mark.slow
def test_thousands_of_files_are_read_to_their_end_or_refused():
    for number, case in enumerate(cases(1, 5000)):
        _check(case, f"{number} {case.name}")
