"""Whole requests, stage by stage, in every mode that a model answers in.

How a request is made is in `workers/edgephi_requests.py`, and `requests.py` for peers, which answer in turn with us
where there are media.

    preprocess   read and check media, mel or crops, template, tokenizer
    encode       audio or image tower
    prefill      the decoder reads the prompt, media rows included
    first token  what else lies before it: choosing; waiting for a turn and loading adapters are not in it
    decode       every token after the first
    detokenize   the text of the reply's tokens, one at a time; done within decode
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgephi.bundle.bundle import Bundle
from edgephi_bench.engines.peer_requests import OnPeer, PeerRequests
from edgephi_bench.engines.peers import PeerSpec
from edgephi_bench.engines.worker import WORKERS, Worker
from edgephi_bench.engines.workers.edgephi_requests import WORDS
from edgephi_bench.latency.plan import BenchPlan
from edgephi_bench.latency.request_kinds import RequestKind, requests_of, text_condition
from edgephi_bench.latency.rounds import OURS, OnLine, rest, round_words, turns
from edgephi_bench.latency.stage_figures import RequestResults, figures_of
from edgephi_bench.measure.measurement import Figure
from edgephi_bench.measure.observer import Observer, Round
from edgephi_bench.measure.text_tokens import text_tokens


def text_rounds(plan: BenchPlan, tokens: int) -> int:
    """How often WORDS make about so many tokens."""
    return max(1, round(tokens / len(text_tokens(Bundle(plan.model), WORDS))))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageObservers:
    """The callbacks of the measuring.

    Attributes:
        on_line: Called with what is being measured.
        on_peer: Called with the peers' versions and failures.
        observer: Notes what the machine did.
    """

    on_line: OnLine
    on_peer: OnPeer
    observer: Observer


def measure_stages(
    plan: BenchPlan, modes: tuple[str, ...], peers: tuple[PeerSpec, ...], observers: StageObservers
) -> list[Figure]:
    """Figures of every kind of request, and of a second turn. One process for all of ours, as a user's would be.

    Args:
        plan: What is asked for.
        modes: In which the model answers.
        peers: Asked beside us in modes with media.
        observers: Called with everything that is reported.

    Raises:
        WorkerError: A request of ours failed.
    """
    figures = []
    requests = requests_of(plan, modes)
    with Worker(WORKERS / "edgephi_requests.py", plan.engine()) as worker:
        for asked in (item for item in requests if item.own is None):
            with PeerRequests(peers if asked.media else (), plan.threads, observers.on_peer) as beside:
                words = text_rounds(plan, asked.prompt_tokens) if asked.prompt_tokens else 1
                kind = _KindFigures(
                    plan=plan, asked=asked, worker=worker, beside=beside, observers=observers, text_rounds=words
                )
                figures += kind.measure()
        if "text" in modes:
            figures += _second_turn(plan, worker, observers.on_line)
    if own := [item for item in requests if item.own]:
        # Kept prefixes would answer the second run of the same prompt; ours differ in their first word instead.
        with Worker(WORKERS / "edgephi_requests.py", plan.engine() | {"cache_bytes": 0}) as worker:
            for asked in own:
                with PeerRequests((), plan.threads, observers.on_peer) as beside:
                    kind = _KindFigures(plan=plan, asked=asked, worker=worker, beside=beside, observers=observers)
                    figures += kind.measure()
    return figures


def _second_turn(plan: BenchPlan, worker: Worker, on_line: OnLine) -> list[Figure]:
    on_line("second turn")
    prompt = plan.prompt_tokens[0]
    rounds = text_rounds(plan, prompt)
    waits = [worker.ask("second_turn", rounds=rounds, new_tokens=2) for _ in range(plan.runs)]
    names = ("time to first token, first turn", "time to first token, second turn")
    condition = text_condition(plan, prompt, plan.new_tokens[0])
    return [
        Figure(name=name, condition=condition, samples=samples)
        for name, samples in zip(names, zip(*waits, strict=True), strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindFigures:
    """Requests of one kind.

    Attributes:
        plan: What is asked for.
        asked: Which kind.
        worker: Answers our requests.
        beside: Peers.
        observers: Called with everything that is reported.
        text_rounds: A text is so many times WORDS.
    """

    plan: BenchPlan
    asked: RequestKind
    worker: Worker
    beside: PeerRequests
    observers: StageObservers
    text_rounds: int = 1

    def measure(self) -> list[Figure]:
        """Ours and the peers' figures."""
        plan, asked = self.plan, self.asked
        answers: list[dict[str, Any]] = []
        self._say(0)
        prompt = self._ask()["prompt_tokens"]  # the first loads the encoder, and the decoder with its adapters
        self.beside.open(prompt + asked.new_tokens + 1)
        for name in self.beside.names:
            self.beside.ask(name, prompt=prompt, tokens=asked.new_tokens, counted=False)
        for number in range(2 - plan.warmup, plan.runs + 1):
            self._say(number)
            with self.observers.observer.round(self._round(number)):
                answers += self._one_round(number, prompt)
        for answer in answers:
            answer["detokenize"] = self.worker.ask("detokenize", token_ids=answer["token_ids"])
        rows = self.worker.ask("media_tokens", media=asked.media) if asked.media else 0
        figures = figures_of(asked, RequestResults(answers=answers, rows=rows))
        return figures + self.beside.figures(asked.mode, asked.condition)

    def _one_round(self, number: int, prompt: int) -> list[dict[str, Any]]:
        answers = []
        for name in turns((OURS, *self.beside.names), number):
            rest(self.plan.delay_s)
            if name == OURS:
                with self.observers.observer.turn():
                    answers.append(self._ask())
            else:
                self.beside.ask(name, prompt=prompt, tokens=self.asked.new_tokens, counted=number > 0)
        return answers if number > 0 else []

    def _ask(self) -> dict[str, Any]:
        asked = self.asked
        if asked.own:
            answer = self.worker.ask("own_request", own=asdict(asked.own), new_tokens=asked.new_tokens)
        else:
            words, new = self.text_rounds, asked.new_tokens
            answer = self.worker.ask("request", media=asked.media, rounds=words, new_tokens=new)
        found: dict[str, Any] = answer
        return found

    def _say(self, number: int) -> None:
        what = f"{self.asked.mode} request, {self.asked.condition}"
        self.observers.on_line(f"{what}: {round_words(number, self.plan.runs)}")

    def _round(self, number: int) -> Round:
        amount, of = self.asked.amount
        return Round(
            mode=self.asked.mode,
            name="request",
            condition=self.asked.condition,
            number=number,
            amount=amount,
            amount_of=of,
        )
