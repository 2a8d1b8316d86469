"""N-gram speculation: draft tokens, and how many of them are worth verifying in one forward pass.

    draft      the tokens after the latest place where the longest suffix of the text stood before
    prediction text that the caller expects: placed where the reply is to begin, it is drafted from the first token on,
               and after a difference it is found again as any other text
    gain       tokens that a pass of R rows is expected to give / its cost in steps of one row

Saxena 2023, "Prompt lookup decoding", of which this is a form whose width follows the machine. A draft token costs
microseconds, and whether it was right shows without a pass, when the token comes; so speculation that is off can
observe when it would pay again.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from edgephi.generation.reply import Speculation
from edgephi.prompt.input_sequence import MediaSpan

#: Rows of a verifying pass: its own token and one less draft tokens.
_WIDTHS = (2, 4, 8, 16)
#: Steps of one row that a pass costs: the real model's on two cores, int4 in blocks of 128. The last is extrapolated.
_PRIOR_COSTS = {2: 1.23, 4: 1.88, 8: 3.09, 16: 5.5}
#: A gain below this is within the noise of measuring.
_LEAST_GAIN = 1.05
_SAMPLES = 5  # passes whose median counts
_PATIENCE = 64  # passes after which a width that was not used is tried again; doubles each time
_SINGLE_PATIENCE = 64  # passes after which a step of one row is measured again

_MEDIA = -1  # stands for a media row in the text that is searched
_SHORTEST = 2  # tokens that must agree
_LONGEST = 16  # beyond, more agreement says no more
_CANDIDATES = 32  # places looked at when a search begins anew

_LONG = 8  # matches of this length and more share an estimate
_SLOWEST = 1 / 24  # weight of a new observation once there are many


class NgramIndex:
    """Finds where the suffix of a growing text stood before.

    Args:
        token_ids: int64 [S]. The text so far.
        spans: Where in it media rows lie: they match nothing and nothing goes on across them.
    """

    def __init__(self, token_ids: NDArray[np.int64], spans: Sequence[MediaSpan] = ()) -> None:
        ids = _without_media(token_ids, spans)
        self._ids: list[int] = ids.tolist()
        self._latest, self._earlier = _pairs(ids)
        self._match = -1  # position of the last token that agrees
        self.length = 0
        self._search(len(self._ids) - 1)

    @property
    def next_token(self) -> int | None:
        """What followed the match; None without one."""
        if not self.length or (token_id := self._ids[self._match + 1]) == _MEDIA:
            return None
        return token_id

    @property
    def next_place(self) -> int:
        """Where in the text `next_token` stands."""
        return self._match + 1

    def append(self, token_id: int) -> None:
        """The text goes on."""
        ids, end = self._ids, len(self._ids)
        is_right = token_id == self.next_token
        ids.append(token_id)
        pair = _key(ids[end - 1], token_id) if end and ids[end - 1] != _MEDIA else None
        self._earlier.append(-1 if pair is None else self._latest.get(pair, -1))
        if pair is not None:
            self._latest[pair] = end
        if is_right:  # no other match can be longer: without this token it would have been the longer one before
            self._match, self.length = self._match + 1, min(self.length + 1, _LONGEST)
        else:
            self._search(end)

    def draft(self, most: int) -> list[int]:
        """At most `most` tokens that followed the match. A match that reaches the text's end goes round."""
        drafts: list[int] = []
        if not self.length:
            return drafts
        ids, start = self._ids, self._match + 1
        for at in range(start, start + most):
            token_id = ids[at] if at < len(ids) else drafts[at - len(ids)]
            if token_id == _MEDIA:
                break
            drafts.append(token_id)
        return drafts

    def _search(self, end: int) -> None:
        """The longest match of the text's end, the latest of equal ones."""
        self._match, self.length = -1, 0
        at = self._earlier[end] if end >= 0 else -1
        for _ in range(_CANDIDATES):
            if at < 0 or self.length == _LONGEST:
                return
            if (length := self._agreement(at, end)) > self.length:
                self._match, self.length = at, length
            at = self._earlier[at]

    def _agreement(self, at: int, end: int) -> int:
        """How many tokens that end at both places are the same; their last pair is."""
        ids, length = self._ids, _SHORTEST
        while length < _LONGEST and length <= at and ids[at - length] == ids[end - length] != _MEDIA:
            length += 1
        return length


class Acceptance:
    """How often a draft token was right, by the length of the match it came from."""

    def __init__(self) -> None:
        self._rates = [0.0, 0.0, *(1 - 1 / length for length in range(_SHORTEST, _LONG + 1))]
        self._counts = [2] * (_LONG + 1)  # the weight of the prior rate

    def note(self, length: int, *, is_right: bool) -> None:
        """A token came for which there was a draft token."""
        bucket = min(length, _LONG)
        self._counts[bucket] += 1
        weight = max(1 / self._counts[bucket], _SLOWEST)
        self._rates[bucket] += weight * (is_right - self._rates[bucket])

    def rate(self, length: int) -> float:
        """The chance that the token after a match of this length is right."""
        return self._rates[min(length, _LONG)]


class StepCosts:
    """The cost of a pass of R rows on this machine, in steps of one row.

    Measured while a reply is made; before that, and for a width not used for long, the prior scaled by what the
    nearest measured width has shown.
    """

    def __init__(self) -> None:
        self._samples: dict[int, deque[float]] = {}
        self._seconds: dict[int, float] = {}  # their medians
        self._started: set[int] = set()
        self._noted_at: dict[int, int] = {}
        self._patience = dict.fromkeys(_WIDTHS, _PATIENCE)
        self._passes = 0
        self._costs = dict(_PRIOR_COSTS)

    @property
    def wants_single(self) -> bool:
        """Whether the next pass should have one row, so that the others have a measure."""
        return 1 not in self._noted_at or self._passes - self._noted_at[1] >= _SINGLE_PATIENCE

    def note(self, rows: int, seconds: float) -> None:
        """A pass was made."""
        self._passes += 1
        if rows not in self._started:  # a shape's first pass also makes its bindings
            self._started.add(rows)
            return
        samples = self._samples.setdefault(rows, deque(maxlen=_SAMPLES))
        samples.append(seconds)
        self._seconds[rows] = statistics.median(samples)
        self._noted_at[rows] = self._passes
        self._drop_old()
        self._costs = self._estimated()

    def cost(self, rows: int) -> float:
        """Of a pass of this many rows, one of `_WIDTHS`."""
        return self._costs[rows]

    def _drop_old(self) -> None:
        for rows in _WIDTHS:
            if rows in self._seconds and self._passes - self._noted_at[rows] >= self._patience[rows]:
                del self._seconds[rows], self._samples[rows]
                self._patience[rows] *= 2

    def _estimated(self) -> dict[int, float]:
        if 1 not in self._seconds:
            return dict(_PRIOR_COSTS)
        single = max(self._seconds[1], 1e-9)
        scales = {rows: self._seconds[rows] / single / _PRIOR_COSTS[rows] for rows in _WIDTHS if rows in self._seconds}
        scale = next(iter(scales.values()), 1.0)  # of the nearest narrower width, else of the narrowest
        costs = {}
        for rows in _WIDTHS:
            scale = scales.get(rows, scale)
            costs[rows] = scale * _PRIOR_COSTS[rows]
        return costs


class Speculator:
    """Draft tokens for one reply.

    Args:
        token_ids: int64 [S]. The prompt.
        spans: Media in it.
        mode: True drafts whenever there is a match and measures nothing, so it does the same each time; None when it
            pays, False never.
        ends: Tokens that end a reply; nothing is drafted after one.
        prediction: Tokens that the reply will probably have, from its first on.
    """

    def __init__(
        self,
        token_ids: NDArray[np.int64],
        *,
        spans: Sequence[MediaSpan] = (),
        mode: bool | None = None,
        ends: Collection[int] = (),
        prediction: Sequence[int] = (),
    ) -> None:
        self._mode = mode
        self._ends = ends
        self._predicted = range(0)  # where the prediction stands in the text that is searched
        self._index: NgramIndex | None = None
        if mode is not False:
            text = _without_media(token_ids, spans)
            if len(prediction):
                text, self._predicted = _with_prediction(text, prediction)
            self._index = NgramIndex(text)
        self._is_predicted = False  # whether the drafts of the last pass are the prediction's
        self._acceptance = Acceptance()
        self._costs = StepCosts()
        self._passes = self._drafted = self._accepted = 0
        self._prediction_drafted = self._prediction_accepted = 0

    @property
    def record(self) -> Speculation:
        """What was verified so far."""
        return Speculation(
            passes=self._passes,
            drafted=self._drafted,
            accepted=self._accepted,
            prediction_drafted=self._prediction_drafted,
            prediction_accepted=self._prediction_accepted,
        )

    def accept(self, token_id: int, *, was_draft: bool = False) -> None:
        """A token became part of the reply.

        Args:
            token_id: The token.
            was_draft: It was a draft token that a pass had verified, so it cost no pass of its own.
        """
        self._accepted += was_draft
        self._prediction_accepted += was_draft and self._is_predicted
        if self._index is None:
            return
        if (expected := self._index.next_token) is not None:
            self._acceptance.note(self._index.length, is_right=expected == token_id)
        self._index.append(token_id)

    def draft(self, most: int) -> list[int]:
        """The draft tokens that the next pass should verify: none where that does not pay.

        Args:
            most: The upper limit of their number.
        """
        if self._index is None or self._index.next_token is None or most < 1:
            return []
        if self._mode is None and self._costs.wants_single:
            return []
        drafts = self._index.draft(self._best_width(most + 1) - 1)
        self._is_predicted = self._index.next_place in self._predicted
        end = next((at for at, token_id in enumerate(drafts) if token_id in self._ends), len(drafts))
        return drafts[: end + 1]

    def note_pass(self, num_drafts: int, seconds: float) -> None:
        """A pass over one token and this many draft tokens was made."""
        self._costs.note(num_drafts + 1, seconds)
        self._passes += num_drafts > 0
        self._drafted += num_drafts
        self._prediction_drafted += num_drafts * self._is_predicted

    def _best_width(self, most_rows: int) -> int:
        """Rows of the pass that gains most; 1 when none pays."""
        length = 0 if self._index is None else self._index.length
        best, best_gain = 1, 0.0 if self._mode else _LEAST_GAIN
        expected = run = 1.0
        for rows in range(2, min(most_rows, _WIDTHS[-1]) + 1):
            run *= self._acceptance.rate(length + rows - 2)
            expected += run
            if rows in _WIDTHS and (gain := expected / self._cost(rows)) > best_gain:
                best, best_gain = rows, gain
        return best

    def _cost(self, rows: int) -> float:
        return _PRIOR_COSTS[rows] if self._mode else self._costs.cost(rows)


def _without_media(token_ids: NDArray[np.int64], spans: Sequence[MediaSpan]) -> NDArray[np.int64]:
    ids = token_ids.copy()
    for span in spans:
        ids[span.start : span.start + span.length] = _MEDIA
    return ids


def _with_prediction(text: NDArray[np.int64], prediction: Sequence[int]) -> tuple[NDArray[np.int64], range]:
    """The prompt's end once more with the prediction after it, so that it matches where the reply begins.

    Returns:
        The text, and where in it the prediction stands.
    """
    gap, end = np.array([_MEDIA], np.int64), text[-_LONGEST:]
    start = len(text) + len(gap) + len(end)
    whole = np.concatenate([text, gap, end, np.array(prediction, np.int64), gap, end])
    return whole, range(start, start + len(prediction))


def _key(first: int, second: int) -> int:
    return first << 32 | second


def _pairs(ids: NDArray[np.int64]) -> tuple[dict[int, int], list[int]]:
    """For each pair of tokens the latest position of its second, and for each position the one before it, or -1."""
    earlier = np.full(len(ids), -1, np.int64)
    ends = np.flatnonzero((ids[1:] != _MEDIA) & (ids[:-1] != _MEDIA)) + 1
    keys = ids[ends - 1] << 32 | ids[ends]
    order = np.argsort(keys, kind="stable")
    is_again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    earlier[ends[order[is_again + 1]]] = ends[order[is_again]]
    return dict(zip(keys.tolist(), ends.tolist(), strict=True)), earlier.tolist()
