"""Whole requests, stage by stage, in every mode that a model answers in.

Owns which figures a request gives. Knows nothing about how the request is made; that is `workers/request_engine.py`.

    preprocess   read and check media, mel or crops, template, tokenizer
    encode       audio or image tower
    prefill      the decoder reads the prompt, media rows included
    first token  what else lies before it: choosing, waiting for a turn
    decode       every token after the first
"""

from __future__ import annotations

from typing import Any

from edgephi.bundle import TOKENIZER_NAME, Bundle
from edgephi.tokenizer import Tokenizer
from edgephi_bench.figures import Better, Figure, Unit
from edgephi_bench.plan import BenchPlan
from edgephi_bench.rounds import OnLine
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


def measure_stages(plan: BenchPlan, modes: tuple[str, ...], on_line: OnLine) -> list[Figure]:
    """Figures of requests in each mode, and of a second turn. One process for all, as a user's would be.

    Raises:
        WorkerError: A request failed.
    """
    figures = []
    rounds = text_rounds(plan, plan.prompt_tokens)
    with Worker(WORKERS / "request_engine.py", {"model": str(plan.model), "threads": plan.threads}) as worker:
        for mode in modes:
            figures += _mode(plan, worker, mode, rounds, on_line)
        if "text" in modes:
            on_line("second turn")
            turns = [worker.ask("second_turn", rounds=rounds, new_tokens=2) for _ in range(plan.runs)]
            figures += [
                Figure(name=name, condition=_text_condition(plan), samples=samples)
                for name, samples in zip(
                    ("time to first token, first turn", "time to first token, second turn"),
                    zip(*turns, strict=True),
                    strict=True,
                )
            ]
    return figures


def _mode(plan: BenchPlan, worker: Worker, mode: str, rounds: int, on_line: OnLine) -> list[Figure]:
    answers, media = [], media_of(plan, mode)
    for number in range(plan.runs + 1):  # the first loads the encoder, and the decoder with its adapters
        on_line(f"{mode} request: " + (f"run {number} of {plan.runs}" if number else "warming up"))
        answer = worker.ask("request", media=media, rounds=rounds, new_tokens=plan.new_tokens)
        if number:
            answer["detokenize"] = worker.ask("detokenize", token_ids=answer["token_ids"])
            answers.append(answer)
    return _figures(plan, mode, answers, worker.ask("media_rows", media=media) if media else 0)


def _figures(plan: BenchPlan, mode: str, answers: list[dict[str, Any]], rows: int) -> list[Figure]:
    condition = {
        "text": _text_condition(plan),
        "speech": f"clip of {plan.audio_s:g} s",
        "vision": f"picture of {plan.image[0]}x{plan.image[1]}",
    }[mode]

    def figure(name: str, samples: list[float], unit: Unit = "s", better: Better | None = "less") -> Figure:
        return Figure(mode=mode, name=name, condition=condition, unit=unit, better=better, samples=tuple(samples))

    for answer in answers:
        answer["decode"] = sum(answer["steps"])
    found = [
        figure(f"stage: {name}", [answer[key] for answer in answers])
        for key, name in STAGES.items()
        if key != "encode" or mode != "text"
    ]
    steps = [second for answer in answers for second in answer["steps"]]
    found += [
        figure("stage: detokenize", [answer["detokenize"] for answer in answers]),
        figure("time to first token", [answer["ttft"] for answer in answers]),
        *([figure("time per output token", steps)] if steps else []),
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


def _text_condition(plan: BenchPlan) -> str:
    return f"prompt of about {plan.prompt_tokens} tokens"
