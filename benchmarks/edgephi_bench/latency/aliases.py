"""The words that people look for beside ours: llama-bench's pp512 and tg128, TTFT, TPOT, ITL, RTFx."""

from __future__ import annotations

from edgephi_bench.measure.measurement import DECODE_STEP, PREFILL, Figure

_NAMES = {
    "time to first token": ("TTFT",),
    "time per output token": ("TPOT", "ITL"),
    "end to end": ("E2E latency",),
    "real-time factor": ("RTF",),
    "speed over real time": ("RTFx",),
    "peak resident size": ("peak RSS",),
}


def known_as(figure: Figure) -> tuple[str, ...]:
    """Other names of a figure; empty where there is none in common use.

    A prefill of 512 tokens is pp512. Steps between 32 tokens are tg32, with `@ d1000` after 1,000 cached positions as
    llama-bench writes it; a time per token is the reciprocal of its tokens per second.
    """
    depth = figure.condition.depth
    if figure.name == PREFILL:
        return (f"pp{figure.condition.tokens}",)
    if figure.name == DECODE_STEP:
        tokens = figure.per_round + 1 if figure.per_round > 1 else None
        name = f"tg{tokens or ''}"
        return (f"{name} @ d{depth}" if depth else name, "ITL")
    return _NAMES.get(figure.name, ())
