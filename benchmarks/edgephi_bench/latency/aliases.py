"""The words that people look for beside ours: llama-bench's pp512 and tg128, TTFT, TPOT, ITL, RTFx."""

from __future__ import annotations

import re

from edgephi_bench.measure.measurement import Figure

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
    if figure.name == "prefill":
        prompt = re.match(r"(\d+) tokens", figure.condition)
        return (f"pp{prompt[1]}",) if prompt else ()
    if figure.name == "decode step":
        depth = re.match(r"depth (\d+)", figure.condition)
        tokens = figure.per_round + 1 if figure.per_round > 1 else None
        name = f"tg{tokens or ''}"
        return (f"{name} @ d{depth[1]}" if depth and int(depth[1]) else name, "ITL")
    return _NAMES.get(figure.name, ())
