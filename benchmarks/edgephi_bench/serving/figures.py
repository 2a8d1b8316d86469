"""The figures of a server: of each kind of request with each number of clients, and what the server adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.serving.answers import Answer
from edgephi_bench.serving.plan import SIDES, condition_of
from edgephi_bench.serving.rounds import PairedAnswer, RoundResult

#: Mode of the figures that requests of all kinds make together.
MIXED = "mixed"
FIRST, TOKEN, WHOLE = "time to first token", "time per output token", "end to end"
THROUGHPUT, THROUGHPUT_SHARE = "throughput", "throughput over direct calls"
OVER_FIRST, OVER_TOKEN, OVER_REQUEST = "overhead to first token", "overhead per token", "overhead per request"
DECODE_SHARE = "decode rate over direct calls"
_OF_ANSWERS: dict[str, Callable[[Answer], float]] = {
    FIRST: lambda answer: answer.first_s,
    TOKEN: lambda answer: answer.token_s,
    WHOLE: lambda answer: answer.end_s,
}
_OF_PAIRS: dict[str, Callable[[PairedAnswer], float]] = {
    OVER_FIRST: lambda pair: pair.server.first_s - pair.direct.first_s,
    OVER_TOKEN: lambda pair: pair.server.token_s - pair.direct.token_s,
    OVER_REQUEST: lambda pair: pair.server.other_s - pair.direct.other_s,
}


def figures_of(kinds: tuple[RequestKind, ...], clients: int, rounds: list[RoundResult]) -> list[Figure]:
    """All figures with so many clients; those beside direct calls only with one, whose request waits for no other."""
    pairs = [pair for result in rounds for pair in result.pairs]
    found: list[Figure] = []
    for kind in kinds:
        found += _kind_figures(kind, clients, [pair for pair in pairs if pair.kind == kind])
    return found + _throughput(clients, rounds)


def _kind_figures(kind: RequestKind, clients: int, pairs: list[PairedAnswer]) -> Iterator[Figure]:
    condition = condition_of(kind, clients)
    for side in SIDES if clients == 1 else SIDES[:1]:
        for name, seconds in _OF_ANSWERS.items():
            samples = tuple(seconds(getattr(pair, side)) for pair in pairs)
            yield Figure(runner=side, mode=kind.mode, name=name, condition=condition, samples=samples)
    if clients > 1:
        return
    for name, added in _OF_PAIRS.items():
        samples = tuple(added(pair) for pair in pairs)
        yield Figure(runner="server", mode=kind.mode, name=name, condition=condition, samples=samples)
    rates = tuple(pair.direct.token_s / pair.server.token_s for pair in pairs if pair.server.token_s > 0)
    if rates:  # a reply whose text comes in one piece has no rate
        yield _share(kind.mode, DECODE_SHARE, condition, rates)


def _throughput(clients: int, rounds: list[RoundResult]) -> list[Figure]:
    condition = Condition(kind="request", clients=clients)
    figures = [
        Figure(
            runner=side,
            mode=MIXED,
            name=THROUGHPUT,
            condition=condition,
            unit="tokens/s",
            better="more",
            samples=tuple(result.new_tokens / getattr(result, f"{side}_s") for result in rounds),
        )
        for side in SIDES
    ]
    shares = tuple(result.direct_s / result.server_s for result in rounds)
    return [*figures, _share(MIXED, THROUGHPUT_SHARE, condition, shares)]


def _share(mode: str, name: str, condition: Condition, samples: tuple[float, ...]) -> Figure:
    return Figure(runner="server", mode=mode, name=name, condition=condition, unit="x", better="more", samples=samples)
