"""Finals at every pause, partials while the machine keeps up, and never a final later because of a partial."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.transcription.live.captions import FinalCaption, PartialCaption
from edgephi.transcription.live.session import LiveControl, LiveOptions, LiveTranscription
from edgephi.transcription.live.utterances import SpeechStart, Utterance
from edgephi.transcription.windows import WindowRules
from support.live_audio import Broadcast, finals, lost, partials
from support.speech_model import FakeModel, loudness, turns

THREE = turns(1.0, 3.0, 1.0, 4.0, 1.0, 2.0, 0.2)


def _growing(_: int, samples: np.ndarray) -> list[int]:
    """One word for each half second of audio that is loud."""
    return list(range(int(np.count_nonzero(np.abs(samples) > 0.01) / 8_000)))


def test_every_pause_ends_in_a_final_caption_and_the_end_does_too():
    made = finals(Broadcast(THREE, _growing).captions())
    assert [final.number for final in made] == [0, 1, 2]
    assert [final.start_s for final in made] == [pytest.approx(t, abs=0.07) for t in (1.0, 5.0, 10.0)]
    assert [final.end_s for final in made] == [pytest.approx(t, abs=0.07) for t in (4.0, 9.0, 12.0)]


def test_a_final_comes_with_the_pause_when_the_machine_is_free():
    for time_s, caption in Broadcast(THREE, _growing).captions():
        if isinstance(caption, FinalCaption) and caption.number < 2:
            assert time_s - caption.end_s == pytest.approx(0.6, abs=0.17)  # pause_s, in chunks of 0.1 s
            assert caption.lag_s == pytest.approx(time_s - caption.end_s, abs=0.05)


def test_words_come_while_they_are_spoken_and_settled_ones_stay():
    broadcast = Broadcast(turns(1.0, 9.0, 1.0), _growing, cost=0.1)
    made = list(broadcast.captions())
    texts = [partial.settled + partial.tail for partial in partials(made)]
    assert len(texts) >= 5
    for before, after in itertools.pairwise(partials(made)):
        assert after.settled == before.settled + after.added
    assert finals(made)[0].text.startswith(partials(made)[-1].settled)
    assert partials(made)[-1].settled
    assert made[0][0] < 3.0  # the first word 2 s after the speech began


def test_a_partial_is_read_only_after_enough_new_speech():
    broadcast = Broadcast(turns(1.0, 9.0, 1.0), _growing, cost=0.4)
    times = [time_s for time_s, caption in broadcast.captions() if isinstance(caption, PartialCaption)]
    lengths = [len(window) / 16_000 for window in broadcast.model.windows]
    assert len(times) >= 2
    for length, longer in itertools.pairwise(lengths[:-1]):
        assert longer - length >= max(1.0, 1.2 * 0.4 * length) - 0.2


def test_each_reading_of_an_utterance_predicts_the_next():
    """So words that stay take few passes; what another utterance had says nothing of this one."""
    broadcast = Broadcast(turns(1.0, 4.0, 1.0, 4.0, 1.0), _growing, cost=0.05)
    list(broadcast.captions())
    windows = broadcast.model.windows
    expected = [
        " ".join(map(str, _growing(0, window))) if len(window) <= len(longer) else ""  # a shorter one is of the next
        for window, longer in itertools.pairwise(windows)
    ]
    assert broadcast.model.predictions == ["", *expected]
    assert len(windows) >= 8
    assert expected.count("") == 1


def test_the_last_reading_predicts_the_final_one():
    session = LiveTranscription(FakeModel(_growing), 16_000, LiveOptions(make_detector=lambda: loudness))
    session.push(turns(0.5, 2.0))
    partial = session.step()
    assert isinstance(partial, PartialCaption)
    session.push(turns(1.0)[:3200] + np.float32(0.2))
    session.flush()
    assert isinstance(session.step(), FinalCaption)
    assert session._transcriber.model.predictions == ["", partial.tail]


def test_a_pause_is_used_to_read_what_it_ends():
    """A final caption comes earlier by the half of the pause that adds nothing to it, and is read once."""
    samples = turns(1.0, 3.0, 2.0)
    plain = Broadcast(samples, _growing, cost=0.2, has_partials=False)
    ((plain_s, expected),) = plain.captions()
    full = Broadcast(samples, _growing, cost=0.2)
    *_, early, (full_s, last) = full.captions()
    assert isinstance(last, FinalCaption)
    assert last.segments == expected.segments
    assert plain_s - full_s >= 0.2
    assert isinstance(early[1], PartialCaption)
    assert len(full.model.windows[-1]) == len(plain.model.windows[-1])
    assert len(full.model.windows[-2]) < len(full.model.windows[-1])


def test_a_silence_that_is_no_pause_ends_nothing():
    samples = turns(1.0, 2.0, 0.45, 2.0, 1.0)
    ((_, expected),) = Broadcast(samples, _growing, has_partials=False).captions()
    made = list(Broadcast(samples, _growing).captions())
    assert [final.segments for final in finals(made)] == [expected.segments]
    assert [time_s for time_s, _ in made if 3.2 < time_s < 3.45]  # read in the silence


def test_a_partial_is_given_up_when_its_utterance_ends():
    """The reading of all of it is no later for that, but for the step that is running, and is not made twice."""
    samples = turns(1.0, 8.0, 3.0)
    plain = Broadcast(samples, _growing, cost=0.5, has_partials=False)
    ((plain_s, _),) = plain.captions()
    full = Broadcast(samples, _growing, cost=0.5)
    *before, (full_s, last) = full.captions()
    assert before
    assert isinstance(last, FinalCaption)
    assert full_s < plain_s
    assert len(full.model.windows) == len(before) + 2  # one was begun and given up, and the final one was read once


def test_no_partial_is_read_while_a_final_waits_or_the_machine_is_too_slow():
    broadcast = Broadcast(np.tile(turns(0.7, 4.0), 6), _growing, cost=1.1)
    made = list(broadcast.captions())
    after = [caption for _, caption in made][[isinstance(c, FinalCaption) for _, c in made].index(True) :]
    assert not [caption for caption in after if isinstance(caption, PartialCaption)]
    assert len(finals(made)) == 6
    assert broadcast.now_s > len(np.tile(turns(0.7, 4.0), 6)) / 16_000  # it fell behind and caught up after the end


def test_a_machine_slower_than_speech_reads_no_partial_though_nothing_waits():
    """The pauses are long enough for it to catch up; a partial would be given up, and the final be late."""
    made = list(Broadcast(np.tile(turns(8.0, 4.0), 3), _growing, cost=1.1).captions())
    assert {partial.number for partial in partials(made)} == {0}  # before its speed was known
    assert [final.number for final in finals(made)] == [0, 1, 2]


def test_of_too_much_waiting_speech_the_oldest_is_dropped_and_reported():
    made = list(Broadcast(np.tile(turns(0.8, 4.0), 10), _growing, cost=3.0, most_waiting_s=10.0).captions())
    numbers = sorted([one.number for one in lost(made)] + [one.number for one in finals(made)])
    assert numbers == list(range(10))
    assert lost(made)
    assert [caption.number for _, caption in made if not isinstance(caption, PartialCaption)] == numbers
    for one in lost(made):
        assert (one.start_s, one.end_s) == (pytest.approx(0.8 + 4.8 * one.number, abs=0.07), pytest.approx(
            4.8 + 4.8 * one.number, abs=0.07))  # fmt: skip


def test_what_was_said_last_is_kept_of_too_much():
    samples = np.tile(turns(0.8, 4.0), 4)
    broadcast = Broadcast(samples, _growing, most_waiting_s=10.0)
    broadcast.advance(len(samples) / 16_000 + 0.1)
    made = [(0.0, caption) for _ in range(4) if (caption := broadcast.session.step())]
    assert [[one.number for one in kind] for kind in (lost(made), finals(made))] == [[0, 1], [2, 3]]


def test_without_a_limit_nothing_is_dropped():
    made = list(Broadcast(np.tile(turns(0.8, 4.0), 10), _growing, cost=3.0, most_waiting_s=None).captions())
    assert [one.number for one in finals(made)] == list(range(10))
    assert not lost(made)


def test_the_beginning_and_end_of_speech_are_reported_at_once():
    broadcast = Broadcast(THREE, _growing, cost=1.5)
    list(broadcast.captions())
    starts = [(time_s, one) for time_s, one in broadcast.events if isinstance(one, SpeechStart)]
    ends = [(time_s, one) for time_s, one in broadcast.events if isinstance(one, Utterance)]
    assert [one.number for _, one in starts] == [one.number for _, one in ends] == [0, 1, 2]
    assert all(time_s - one.start_s <= 0.35 for time_s, one in starts)  # six frames, in chunks of 0.1 s
    assert all(time_s - one.window.end_s <= 0.8 for time_s, one in ends)


def test_speech_without_a_pause_is_cut_and_goes_on_as_another_utterance():
    broadcast = Broadcast(turns(1.0, 25.0, 1.0), _growing, rules=WindowRules(window_s=10.0))
    made = finals(broadcast.captions())
    assert [final.number for final in made] == list(range(len(made)))
    assert len(made) >= 3
    assert all(a.end_s == pytest.approx(b.start_s, abs=0.04) for a, b in itertools.pairwise(made))


def test_an_utterance_can_be_ended_by_hand():
    session = LiveTranscription(FakeModel(_growing), 16_000, LiveOptions(make_detector=lambda: loudness))
    session.push(turns(0.5, 2.0))
    session.flush()
    session.flush()
    final = session.step()
    assert isinstance(final, FinalCaption)
    assert final.end_s == pytest.approx(2.5, abs=0.07)
    assert session.step() is None


def test_an_utterance_can_be_thrown_away_and_the_next_has_a_number_of_its_own():
    session = LiveTranscription(FakeModel(_growing), 16_000, LiveOptions(make_detector=lambda: loudness))
    session.push(turns(0.5, 2.0))
    session.clear()
    session.push(turns(1.0, 3.0, 1.0))
    session.end()
    (one,) = [caption for caption in session.captions() if isinstance(caption, FinalCaption)]
    assert (one.number, one.start_s) == (1, pytest.approx(3.5, abs=0.07))


def test_others_who_wait_for_the_model_come_before_a_partial():
    """None is begun, and the one that is being made is given up."""
    samples, control = turns(1.0, 9.0, 1.0), {"wanted": False}

    def script(number: int, window: np.ndarray) -> list[int]:
        control["wanted"] = True  # somebody comes while the first is made
        return _growing(number, window)

    model = FakeModel(script)
    session = LiveTranscription(
        model, 16_000, LiveOptions(make_detector=lambda: loudness), LiveControl(is_wanted=lambda: control["wanted"])
    )
    made = []
    for start in range(0, len(samples), 1_600):
        session.push(samples[start : start + 1_600])
        made.append(session.step())
    session.end()
    assert [type(caption) for caption in [*made, *session.captions()] if caption is not None] == [FinalCaption]
    assert len(model.windows) == 2


def test_a_fault_is_the_loss_of_its_utterance_and_the_next_goes_on():
    def script(_: int, samples: np.ndarray) -> list[int]:
        if 4 * 16_000 < len(samples) < 5 * 16_000:  # the second, and no partial of it
            raise ArtifactError("speech.onnx: damaged")
        return [len(samples) // 16_000]

    made = list(Broadcast(THREE, script).captions())
    (one,) = lost(made)
    assert (one.number, one.start_s) == (1, pytest.approx(5.0, abs=0.07))
    assert isinstance(one.error, ArtifactError)
    assert [final.number for final in finals(made)] == [0, 2]


def test_a_fault_of_a_partial_is_left_to_its_final():
    lengths: list[int] = []

    def script(_: int, samples: np.ndarray) -> list[int]:
        if len(samples) not in lengths:  # the final has the audio of the last partial
            lengths.append(len(samples))
            raise ArtifactError("speech.onnx: damaged")
        return [1]

    made = list(Broadcast(turns(1.0, 3.0, 1.0), script).captions())
    assert [final.text for final in finals(made)] == ["1"]
    assert not partials(made)
    assert not lost(made)


def test_stopping_ends_the_captions_without_the_one_that_is_not_complete():
    stopped = threading.Event()

    def script(number: int, _: np.ndarray) -> list[int]:
        if number == 1:
            stopped.set()
        return [1, 2, 3]

    options = LiveOptions(make_detector=lambda: loudness, has_partials=False)
    session = LiveTranscription(FakeModel(script), 16_000, options, LiveControl(should_stop=stopped.is_set))
    session.push(THREE)
    session.end()
    assert [caption.number for caption in session.captions()] == [0]


def test_captions_wait_for_audio_of_another_thread():
    session = LiveTranscription(FakeModel(_growing), 16_000, LiveOptions(make_detector=lambda: loudness))
    made: list[object] = []
    reader = threading.Thread(target=lambda: made.extend(session.captions()))
    reader.start()
    for start in range(0, len(THREE), 1_600):
        session.push(THREE[start : start + 1_600])
    session.end()
    reader.join(20)
    assert [one.number for one in made if isinstance(one, FinalCaption)] == [0, 1, 2]


def test_a_partial_that_loops_is_left_out():
    def script(number: int, samples: np.ndarray) -> list[int]:
        return [5] * 1000 if len(samples) < 5 * 16_000 else _growing(number, samples)

    made = list(Broadcast(turns(1.0, 9.0, 1.0), script).captions())
    assert partials(made)
    assert all("5 5 5 5" not in partial.settled + partial.tail for partial in partials(made))


@pytest.mark.parametrize(
    "options",
    [{"least_growth_s": 0}, {"least_growth_s": float("nan")}, {"most_waiting_s": -1.0}, {"most_waiting_s": True}],
)
def test_options_out_of_range_are_refused(options: dict[str, float]):
    with pytest.raises(ConfigError, match=next(iter(options))):
        LiveOptions(**options)  # type: ignore[arg-type]
