"""What a server adds: differences between both sides' answers to the same request."""

from __future__ import annotations

import pytest

from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.serving.answers import Answer
from edgephi_bench.serving.figures import figures_of
from edgephi_bench.serving.rounds import PairedAnswer, RoundResult

TEXT = RequestKind(mode="text", condition=Condition(kind="request", tokens=9), prompt_tokens=9, new_tokens=5)
IMAGE = RequestKind(
    mode="vision", condition=Condition(kind="request", image_width=8, image_height=6), prompt_tokens=0, new_tokens=5
)


def _answer(first_s: float, decode_s: float, end_s: float) -> Answer:
    finish_s = first_s + decode_s
    return Answer(first_s=first_s, finish_s=finish_s, end_s=end_s, text="", new_tokens=5, num_texts=5, num_before=1)


def _round(server_s: float = 2.0) -> RoundResult:
    """Direct: 1 s, then 4 tokens in 4 s. The server adds 0.5 s before, 0.25 s to each token and 0.125 s at the end."""
    direct, server = _answer(1.0, 4.0, 5.0), _answer(1.5, 5.0, 6.625)
    pairs = tuple(PairedAnswer(kind=kind, server=server, direct=direct) for kind in (TEXT, IMAGE))
    return RoundResult(pairs=pairs, server_s=server_s, direct_s=1.0)


def _named(figures: list[Figure], runner: str, mode: str) -> dict[str, tuple[float, ...]]:
    return {figure.name: figure.samples for figure in figures if (figure.runner, figure.mode) == (runner, mode)}


@pytest.mark.parametrize("mode", ["text", "vision"])
def test_one_client_shows_what_the_server_adds(mode: str) -> None:
    figures = figures_of((TEXT, IMAGE), 1, [_round(), _round()])
    assert _named(figures, "direct", mode) == {
        "time to first token": (1.0, 1.0),
        "time per output token": (1.0, 1.0),
        "end to end": (5.0, 5.0),
    }
    assert _named(figures, "server", mode) == {
        "time to first token": (1.5, 1.5),
        "time per output token": (1.25, 1.25),
        "end to end": (6.625, 6.625),
        "overhead to first token": (0.5, 0.5),
        "overhead per token": (0.25, 0.25),
        "overhead per request": (0.625, 0.625),
        "decode rate over direct calls": (0.8, 0.8),
    }


def test_several_clients_wait_for_each_other_so_nothing_is_called_overhead() -> None:
    figures = figures_of((TEXT, IMAGE), 4, [_round()])
    assert set(_named(figures, "server", "text")) == {"time to first token", "time per output token", "end to end"}
    assert _named(figures, "direct", "text") == {}
    assert {figure.condition.clients for figure in figures} == {4}


def test_throughput_is_of_all_requests_of_a_round() -> None:
    figures = figures_of((TEXT, IMAGE), 4, [_round(2.0), _round(4.0)])
    assert _named(figures, "server", "mixed") == {
        "throughput": (5.0, 2.5),
        "throughput over direct calls": (0.5, 0.25),
    }
    assert _named(figures, "direct", "mixed") == {"throughput": (10.0, 10.0)}


def test_a_reply_in_one_piece_has_no_rate() -> None:
    whole = _answer(1.0, 0.0, 1.0)
    result = RoundResult(pairs=(PairedAnswer(kind=TEXT, server=whole, direct=whole),), server_s=1.0, direct_s=1.0)
    assert "decode rate over direct calls" not in _named(figures_of((TEXT,), 1, [result]), "server", "text")


def test_the_number_of_clients_stands_in_the_condition() -> None:
    conditions = {figure.name: figure.condition for figure in figures_of((TEXT,), 1, [_round()])}
    assert str(conditions["overhead per token"]) == "prompt of about 9 tokens, 1 client"
    assert str(conditions["throughput"]) == "1 client"
    assert conditions["overhead per token"].values == {"kind": "request", "tokens": 9, "clients": 1}
