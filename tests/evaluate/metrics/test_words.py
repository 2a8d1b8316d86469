"""Word errors: sums of single replies must be the corpus figures of the public packages."""

from __future__ import annotations

import random

import jiwer
import kaldialign
import numpy as np
import pytest
import sacrebleu

from edgephi.base.errors import ConfigError
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.metrics.bleu import Bleu, signature
from edgephi_evaluate.metrics.metric import Metric
from edgephi_evaluate.metrics.multilingual import MultilingualErrors, join_compounds
from edgephi_evaluate.metrics.words import WordErrors
from edgephi_evaluate.normalize.english import english_2025
from edgephi_nano.scoring import word_error_rate

TEXT = "the of and white paper whitepaper colour color twenty one 21 it's mister mr cause because uh two dollars"
WORDS = TEXT.split()


def _pairs(count: int = 200) -> list[tuple[str, str]]:
    """Fixed references and replies with words dropped, changed and doubled."""
    rng = random.Random(7)
    pairs = []
    for _ in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(3, 25))]
        reply = [w if rng.random() > 0.1 else rng.choice(WORDS) for w in words if rng.random() > 0.05]
        pairs.append((" ".join(words), " ".join(reply)))
    return pairs


def item(*answers: str, part: str = "", language: str = "") -> Item:
    turns = (Turn(role="user", text="?"),)
    return Item(id="1", turns=turns, answers=answers, group="1", part=part, language=language)


def answer(text: str, marked: str | None = None) -> Answer:
    return Answer(text=text, marked_text=text if marked is None else marked, seconds=Seconds(total=1.0))


def _figure(metric: Metric, pairs: list[tuple[str, str]], language: str = "") -> float:
    counts = [metric.score(item(wanted, language=language), answer(given)).counts for wanted, given in pairs]
    return float(metric.value(np.array(counts).sum(0)))


def test_sums_of_single_replies_are_jiwers_corpus_figure():
    pairs = _pairs()
    wanted, given = [a for a, _ in pairs], [b for _, b in pairs]
    figure = _figure(WordErrors(), pairs)
    assert figure == pytest.approx(100 * jiwer.wer(wanted, given), abs=1e-12)
    assert figure == pytest.approx(100 * word_error_rate(wanted, given), abs=1e-12)
    assert figure == pytest.approx(13.6850, abs=5e-5)  # jiwer 4.0.0


def test_the_english_of_2025_is_whispers_but_for_one_word():
    assert english_2025("Mr. O'Neill's colour costs $20 million, uh, won't it?") == (
        "mister 0 neill is color costs $20000000 will not it"
    )
    assert english_2025("'cause I said so") == "cause i said so"  # the public package says "because"
    assert _figure(WordErrors(normalize=english_2025), _pairs()) == pytest.approx(15.7678, abs=5e-5)


def test_compounds_are_free_where_they_are_merged():
    assert WordErrors(merge_compounds=True).compare("white paper", "whitepaper").counts == (0, 2)
    assert WordErrors().compare("white paper", "whitepaper").counts == (2, 2)
    pairs = _pairs()
    split = [tuple(tuple(text.split()) for text in side) for side in zip(*pairs, strict=True)]
    public = kaldialign.batch_error_rate(*split, merge_compounds=True)
    assert _figure(WordErrors(merge_compounds=True), pairs) == pytest.approx(100 * public["err_rate"])


def test_a_reply_to_silence_counts_its_words_and_an_empty_one_nothing():
    assert WordErrors().compare("", "a b").counts == (2, 0)
    assert WordErrors().compare("a b", "").counts == (2, 2)
    assert np.isnan(WordErrors().value(np.zeros(2)))


def test_other_languages_keep_diacritics_write_digits_as_words_and_join_compounds():
    metric = MultilingualErrors()
    score = metric.score(item("Über 21 Haustüren", language="de"), answer("über einundzwanzig haus türen!"))
    assert (score.counts, score.reply) == ((0, 3), "über einundzwanzig haustüren")
    assert join_compounds("a b c", "ab d") == ("a b c", "ab d")
    chinese = metric.score(item("你好,世界", language="zh"), answer("你好世人"))
    assert chinese.counts == (1, 4)


def test_sums_of_single_replies_are_sacrebleus_corpus_figure():
    pairs = _pairs()
    corpus = sacrebleu.corpus_bleu([b for _, b in pairs], [[a for a, _ in pairs]])
    assert _figure(Bleu(), pairs) == pytest.approx(corpus.score, abs=1e-9)
    assert corpus.score == pytest.approx(69.1938, abs=5e-5)  # sacrebleu 2.6.0
    assert signature("de").startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "tok:zh" in signature("zh")
    assert _figure(Bleu(), [("你好世界朋友", "你好世界朋友")], "zh") == pytest.approx(100)


def test_a_language_whose_tokenizer_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def refuse(**_: object) -> None:
        raise RuntimeError("Please install\nMeCab")

    monkeypatch.setattr(sacrebleu, "BLEU", refuse)
    with pytest.raises(ConfigError, match=r"cannot cut ja by ja-mecab \(Please install MeCab\); run pip install"):
        Bleu().score(item("a", language="ja"), answer("b"))
