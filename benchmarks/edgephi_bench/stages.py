"""Whole requests, stage by stage, in every mode that a model answers in.

Owns which figures a request gives and the order of asking. Knows nothing about how the request is made; that is
`workers/request_engine.py`, and `peer_requests.py` for peers, which answer in turn with us where there are media.

    preprocess   read and check media, mel or crops, template, tokenizer
    encode       audio or image tower
    prefill      the decoder reads the prompt, media rows included
    first token  what else lies before it: choosing, waiting for a turn
    decode       every token after the first
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from edgephi.bundle import TOKENIZER_NAME, Bundle
from edgephi.tokenizer import Tokenizer
from edgephi_bench.figures import Better, Figure, Unit
from edgephi_bench.peer_requests import STEP, OnPeer, PeerRequests
from edgephi_bench.peers import PeerSpec
from edgephi_bench.plan import BenchPlan
from edgephi_bench.rounds import OURS, OnLine, pause, turns
from edgephi_bench.worker import WORKERS, Worker
from edgephi_bench.workers.request_engine import WORDS

#: Stages of the waterfall in their order, and the figure that each is.
STAGES = {
    "preprocess": "preprocess",
    "encode": "encode",
    "prefill": "prefill",
    "first_token": "first token chosen",
    "decode": "decode",
}


def media_of(plan: BenchPlan, mode: str) -> dict[str, Any]:
    """What a request of this mode has besides text, as the engine takes it."""
    if mode == "speech":
        return {"audio_s": plan.audio_s}
    return {"image": plan.image} if mode == "vision" else {}


def text_rounds(plan: BenchPlan, tokens: int) -> int:
    """How often WORDS make about so many tokens."""
    tokenizer = Tokenizer.load(Bundle(plan.model).file(TOKENIZER_NAME))
    return max(1, round(tokens / len(tokenizer.encode_text(WORDS))))


def measure_stages(
    plan: BenchPlan, modes: tuple[str, ...], peers: tuple[PeerSpec, ...], on_line: OnLine, on_peer: OnPeer
) -> list[Figure]:
    """Figures of requests in each mode, and of a second turn. One process for all of ours, as a user's would be.

    Args:
        plan: What is asked for.
        modes: In which the model answers.
        peers: Asked beside us in modes with media.
        on_line: Told what is being measured.
        on_peer: Hears of the peers' versions and failures.

    Raises:
        WorkerError: A request of ours failed.
    """
    figures = []
    rounds = text_rounds(plan, plan.prompt_tokens)
    with Worker(WORKERS / "request_engine.py", plan.engine()) as worker:
        for mode in modes:
            with PeerRequests(peers if media_of(plan, mode) else (), plan.threads, on_peer) as beside:
                asked = _Mode(plan=plan, mode=mode, worker=worker, beside=beside, text_rounds=rounds)
                figures += asked.measure(on_line)
        if "text" in modes:
            on_line("second turn")
            waits = [worker.ask("second_turn", rounds=rounds, new_tokens=2) for _ in range(plan.runs)]
            figures += [
                Figure(name=name, condition=_text_condition(plan), samples=samples)
                for name, samples in zip(
                    ("time to first token, first turn", "time to first token, second turn"),
                    zip(*waits, strict=True),
                    strict=True,
                )
            ]
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mode:
    """Requests in one mode.

    Attributes:
        plan: What is asked for.
        mode: Which.
        worker: Answers our requests.
        beside: Peers.
        text_rounds: A text is so many times WORDS.
    """

    plan: BenchPlan
    mode: str
    worker: Worker
    beside: PeerRequests
    text_rounds: int

    @property
    def media(self) -> dict[str, Any]:
        """What its requests have besides text."""
        return media_of(self.plan, self.mode)

    def measure(self, on_line: OnLine) -> list[Figure]:
        """Ours and the peers' figures."""
        answers: list[dict[str, Any]] = []
        on_line(f"{self.mode} request: warming up")
        prompt = self._ask()["prompt_tokens"]  # the first loads the encoder, and the decoder with its adapters
        tokens = self.plan.new_tokens
        self.beside.open(prompt + tokens + 1)
        for name in self.beside.names:
            self.beside.ask(name, prompt=prompt, tokens=tokens, counted=False)
        for number in range(1, self.plan.runs + 1):
            on_line(f"{self.mode} request: run {number} of {self.plan.runs}")
            for name in turns((OURS, *self.beside.names), number):
                pause()
                if name == OURS:
                    answers.append(self._ask())
                else:
                    self.beside.ask(name, prompt=prompt, tokens=tokens, counted=True)
        for answer in answers:
            answer["detokenize"] = self.worker.ask("detokenize", token_ids=answer["token_ids"])
        rows = self.worker.ask("media_rows", media=self.media) if self.media else 0
        figures = _figures(self.plan, self.mode, answers, rows)
        return figures + self.beside.figures(self.mode, figures[0].condition)

    def _ask(self) -> dict[str, Any]:
        media, tokens = self.media, self.plan.new_tokens
        answer: dict[str, Any] = self.worker.ask("request", media=media, rounds=self.text_rounds, new_tokens=tokens)
        return answer


def _figures(plan: BenchPlan, mode: str, answers: list[dict[str, Any]], rows: int) -> list[Figure]:
    condition = {
        "text": _text_condition(plan),
        "speech": f"clip of {plan.audio_s:g} s",
        "vision": f"picture of {plan.image[0]}x{plan.image[1]}",
    }[mode]

    def figure(name: str, samples: list[float], unit: Unit = "s", better: Better | None = "less") -> Figure:
        rounds = tuple(samples) if name.startswith("stage: ") else ()
        return Figure(
            mode=mode, name=name, condition=condition, unit=unit, better=better, samples=tuple(samples), rounds=rounds
        )

    for answer in answers:
        answer["decode"] = sum(answer["steps"])
    found = [
        figure(f"stage: {name}", [answer[key] for answer in answers])
        for key, name in STAGES.items()
        if key != "encode" or mode != "text"
    ]
    found += [
        figure("stage: detokenize", [answer["detokenize"] for answer in answers]),
        figure("time to first token", [answer["ttft"] for answer in answers]),
        _step_figure(mode, condition, [answer["steps"] for answer in answers]),
        figure("end to end", [answer["end_to_end"] for answer in answers]),
        figure("prompt positions", [answers[-1]["prompt_tokens"]], "tokens", None),
    ]
    if mode == "speech":
        found += [
            figure("real-time factor", [answer["end_to_end"] / plan.audio_s for answer in answers], "x"),
            figure("tokens per second of audio", [rows / plan.audio_s], "tokens/s", None),
        ]
    elif mode == "vision":
        found.append(figure("tokens per image", [float(rows)], "tokens", None))
    return found


def _step_figure(mode: str, condition: str, steps: list[list[float]]) -> Figure:
    return Figure(
        mode=mode,
        name=STEP,
        condition=condition,
        samples=tuple(second for item in steps for second in item),
        rounds=tuple(map(statistics.fmean, steps)),
    )


def _text_condition(plan: BenchPlan) -> str:
    return f"prompt of about {plan.prompt_tokens} tokens"
