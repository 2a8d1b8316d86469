"""Subtitles must fit on the screen, be there when the words are said, and lose none of them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from edgephi.transcription.columns import atoms, num_columns
from edgephi.transcription.cues import MOST_COLUMNS, MOST_S, Cue, cut_cues, shorter
from edgephi.transcription.formats import render
from edgephi.transcription.transcript import Segment, Stretch, Transcript

ENGLISH = (
    "So today I want to talk about the way in which small devices can hear and see. It is not easy, because memory is "
    "short, and nobody wants to wait; but it works, and it works well enough that we ship it. Questions? Please keep "
    "them for the end, and use the microphone on the left."
)
CHINESE = (
    "\u4eca\u5929\u6211\u60f3\u8c08\u8c08\u5c0f\u578b\u8bbe\u5907\u5982\u4f55\u80fd\u591f\u542c\u548c\u770b\u3002" * 6
)
JAPANESE = (
    "\u300c\u30e1\u30e2\u30ea\u30fc\u304c\u8db3\u308a\u306a\u3044\u300d\u3068\u5f7c\u306f\u8a00\u3063\u305f\u3001" * 6
)
ARABIC = "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643\u0645 \u0641\u064a \u0647\u0630\u0627\u060c " * 8
THAI = "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a" * 20
LONG_WORD = "Rindfleischetikettierungsueberwachungsaufgabenuebertragungsgesetz " * 4
EMOJI = "\U0001f468\u200d\U0001f469\u200d\U0001f467 ok e\u0301 " * 20
TEXTS = {
    "english": ENGLISH,
    "chinese": CHINESE,
    "japanese": JAPANESE,
    "arabic": ARABIC,
    "thai": THAI,
    "long words": LONG_WORD,
    "emoji": EMOJI,
    "one letter": "a",
    "arrows": "a --> b " * 30,
    "mixed": f"{ENGLISH[:60]} {CHINESE[:30]} {ARABIC[:40]}",
}


def segment(text: str, start_s: float, end_s: float, speech: tuple[Stretch, ...] = ()) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, text=text, confidence=0.5, speech=speech)


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


def check(cues: list[Cue], given: Segment, most_s: float = MOST_S, label: str = "") -> None:
    """All that must hold for any segment."""
    assert bare("".join("".join(cue.lines).removeprefix(label) for cue in cues)) == bare(given.text)
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(line.strip() and line == line.strip() for line in cue.lines)
        assert max(map(num_columns, cue.lines)) <= MOST_COLUMNS
        assert cue.start_s < cue.end_s <= cue.start_s + most_s + 1e-6
    for one, other in itertools.pairwise(cues):
        assert one.end_s <= other.start_s
    if cues:
        assert cues[0].start_s == pytest.approx(given.start_s, abs=1e-3)
        assert cues[-1].end_s <= given.end_s + 2e-3


def stretches(rng: np.random.Generator, start_s: float, end_s: float) -> tuple[Stretch, ...]:
    """Speech with pauses, as the detector finds it."""
    edges = np.sort(rng.uniform(start_s, end_s, 2 * int(rng.integers(0, 6))))
    edges = np.concatenate([[start_s], edges, [end_s]])
    return tuple(Stretch(float(a), float(b)) for a, b in edges.reshape(-1, 2))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("seconds", [2.0, 9.0, 26.0, 30.0])
def test_a_cue_is_two_short_lines_for_a_few_seconds(name: str, seconds: float):
    """26 s of speech stood on one line."""
    given = segment(TEXTS[name], 100.0, 100.0 + seconds)
    check(cut_cues(given), given)


@pytest.mark.parametrize("seed", range(60))
def test_cues_never_overlap_and_hold_the_text_exactly(seed: int):
    rng = np.random.default_rng(seed)
    words = " ".join(TEXTS.values()).split()
    text = " ".join(rng.choice(words, int(rng.integers(1, 90))))
    start_s = float(rng.uniform(0, 10_000))
    end_s = start_s + float(rng.uniform(0.2, 30))
    given = segment(text, start_s, end_s, stretches(rng, start_s, end_s))
    most_s, label = float(rng.choice([1.0, 3.0, 7.0, 30.0])), str(rng.choice(["", "Channel 1: "]))
    check(cut_cues(given, most_s, label), given, most_s, label)
    pieces = shorter(given, most_s)
    assert bare("".join(piece.text for piece in pieces)) == bare(text)
    assert (pieces[0].start_s, pieces[-1].end_s) == pytest.approx((start_s, end_s))
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in itertools.pairwise(pieces))
    assert all(piece.text and piece.start_s < piece.end_s for piece in pieces)


def test_a_cut_is_made_where_a_sentence_ends():
    given = segment("This is the first of two sentences. And here the second one begins.", 0.0, 8.0)
    assert [" ".join(cue.lines) for cue in cut_cues(given)] == [
        "This is the first of two sentences.",
        "And here the second one begins.",
    ]


def test_a_cut_is_made_in_a_pause_nearby_and_the_pause_is_empty():
    """A cue that comes before its words are said gives the joke away."""
    given = segment(
        "Why did the chicken cross the road? To get to the other side.",
        0.0,
        9.0,
        (Stretch(0.0, 4.5), Stretch(6.0, 9.0)),
    )
    first, second = cut_cues(given)
    assert (first.start_s, first.end_s) == (0.0, 4.5)
    assert (second.start_s, second.end_s) == (6.0, 9.0)


def test_short_segments_stay_one_cue_of_one_line():
    given = segment("Turn on the kitchen lamp.", 1.25, 3.0)
    assert cut_cues(given) == [Cue(start_s=1.25, end_s=3.0, lines=("Turn on the kitchen lamp.",), channel=None)]
    assert shorter(given, 7.0) == [given]


def test_two_lines_are_about_equally_long():
    (cue,) = cut_cues(segment("The quick brown fox jumps over the lazy dog near the bank.", 0.0, 5.0))
    assert [len(line) for line in cue.lines] == [30, 27]


def test_a_word_that_lasts_is_not_shown_for_half_a_minute():
    (cue,) = cut_cues(segment("Oooooh", 10.0, 40.0))
    assert (cue.start_s, cue.end_s) == (10.0, 17.0)


def test_a_line_does_not_begin_with_a_full_stop_or_split_a_character():
    for name in ("chinese", "japanese", "thai", "emoji"):
        for cue in cut_cues(segment(TEXTS[name], 0.0, 26.0)):
            for line in cue.lines:
                assert line[0] not in "\u3002\u3001\u300d\u30fc\u3063\u0e31\u0e35\u0301\u200d"
                assert not line.endswith(("\u300c", "\u200d"))


def test_columns_are_those_of_the_screen():
    assert num_columns("abc") == 3
    assert num_columns("\u4eca\u5929") == 4
    assert num_columns("e\u0301\u200d") == 1
    assert [atom.text for atom in atoms("ab \u4eca\u5929\u3002x", 42)] == ["ab", "\u4eca", "\u5929\u3002", "x"]


def test_no_text_is_no_cue():
    assert cut_cues(segment("", 0.0, 5.0)) == []
    assert shorter(segment("", 0.0, 25.0), 7.0) == [segment("", 0.0, 25.0)]


def test_files_have_their_cues_in_order_of_time_and_channels_named():
    segments = (
        Segment(start_s=0.0, end_s=20.0, text=ENGLISH, confidence=0.9, channel=1),
        Segment(start_s=5.0, end_s=7.0, text="Yes.", confidence=0.9, channel=2),
    )
    call = Transcript(file="a", segments=segments, duration_s=20.0, elapsed_s=1.0, error=None, is_complete=True)
    srt = render(call, "srt", "")
    starts = re.findall(r"^(\d\d:\d\d:\d\d,\d\d\d) -->", srt, re.MULTILINE)
    assert starts == sorted(starts)
    assert len(starts) > 3
    assert all(len(line) <= MOST_COLUMNS for line in srt.splitlines())
    assert srt.count("Channel 1: ") == len(starts) - 1
    assert "<v Channel 2>Yes.\n" in render(call, "vtt", "")
    assert len(render(call, "txt", "").splitlines()) == 2
    assert len(render(call, "txt", "", 5.0).splitlines()) > 3


def test_a_cut_is_not_made_in_a_pause_far_away():
    """The words before the cut would be shown for too long, or those after it come too early."""
    text = "Why did the chicken cross the road? To get to the other side."
    first, second = cut_cues(segment(text, 0.0, 9.0, (Stretch(0.0, 5.0), Stretch(6.5, 9.0))))
    assert first.end_s == second.start_s == pytest.approx(7.5 * 35 / 61, abs=2e-3)


def test_what_just_fits_is_not_cut():
    speech = (Stretch(0.0, 3.0), Stretch(4.0, 7.0))
    given = segment("Turn on the kitchen lamp.", 0.0, 7.0, speech)
    assert [(cue.start_s, cue.end_s) for cue in cut_cues(given, 7.0)] == [(0.0, 7.0)]
    assert shorter(given, 7.0) == [given]  # with its speech


def test_a_line_is_broken_at_a_comma_only_where_the_lines_stay_about_equal():
    (cue,) = cut_cues(segment("I said no, the quick brown fox jumps over the dog.", 0.0, 5.0))
    assert cue.lines == ("I said no, the quick brown", "fox jumps over the dog.")
    (cue,) = cut_cues(segment("The quick brown fox jumps over, the lazy dog is there.", 0.0, 5.0))
    assert cue.lines == ("The quick brown fox jumps over,", "the lazy dog is there.")


def test_no_cue_is_without_time():
    (cue,) = cut_cues(segment("one", 1.0, 1.0002))
    assert (cue.start_s, cue.end_s) == (1.0, 1.001)
    text = "This is the first of two sentences. And here the second one begins, and this is where it ends."
    assert [len(cut_cues(segment(text, 0.0, seconds))) for seconds in (0.003, 0.004)] == [1, 2]


def test_a_word_longer_than_a_line_fills_it():
    assert [part.columns for part in atoms("a" * 50, MOST_COLUMNS)] == [42, 8]


def test_a_sentence_of_16_columns_or_a_second_is_long_enough_for_a_cue():
    """Otherwise the cut is made behind the next comma."""
    text = "Abcdefg abcdefg. and so it goes, and on it goes for as long as it takes to reach the very end"
    assert cut_cues(segment(text, 0.0, 20.0), 30.0)[0].lines == ("Abcdefg abcdefg.",)
    assert cut_cues(segment(text.replace("Abcdefg", "Abcdef"), 0.0, 20.0), 30.0)[0].lines[0] != "Abcdef abcdefg."
    text = "The first one has these. and then it goes, and on it goes for just as long as it takes to end it"
    assert (cut_cues(segment(text, 0.0, 4.0))[0].end_s, len(text)) == (1.0, 4 * 24)
    assert cut_cues(segment(text, 0.0, 3.9))[0].end_s > 1.5


def test_a_text_as_wide_as_a_line_stays_on_it():
    for width, lines in ((MOST_COLUMNS, 1), (MOST_COLUMNS + 1, 2)):
        (cue,) = cut_cues(segment(f"{'a' * 20} {'b' * (width - 21)}", 0.0, 3.0))
        assert len(cue.lines) == lines


def test_a_cue_shorter_than_a_millisecond_does_not_overlap_the_next():
    text = "Go on then. this one has no comma as it is not to be cut and so it goes on to its very own end"
    first, second = cut_cues(segment(text, 0.0, 0.004))
    assert first.lines == ("Go on then.",)
    assert (first.start_s, first.end_s, second.start_s) == (0.0, 0.001, 0.001)
