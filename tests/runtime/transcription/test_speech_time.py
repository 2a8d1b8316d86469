"""When the words of a cue are said: a cut that is moved into a pause must stay near its words."""

from __future__ import annotations

from edgephi.transcription.speech_time import SpeechTime
from edgephi.transcription.transcript import Stretch

#: A pause after 0.8 of 1.6 spoken seconds; a quarter of them ends 0.4 s before it, which floats hold exactly.
TIME = SpeechTime((Stretch(0.0, 0.8), Stretch(1.0, 1.8)))


def test_a_pause_of_just_the_distance_is_near_enough():
    assert TIME.moments([0.0, 0.25, 1.0], 7.0) == [(0.0, 0.8), (1.0, 1.8)]
    assert TIME.moments([0.0, 0.24, 1.0], 7.0)[0][1] < 0.4


def test_a_cut_moves_where_nothing_becomes_longer_than_allowed():
    assert TIME.moments([0.0, 0.25, 1.0], 0.8) == [(0.0, 0.8), (1.0, 1.8)]
    assert TIME.moments([0.0, 0.25, 1.0], 0.79) == [(0.0, 0.4), (0.4, 1.8)]
