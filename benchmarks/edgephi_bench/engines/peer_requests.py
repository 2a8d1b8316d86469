"""Peers beside our requests with images and audio: the part of the work that they can do.

onnxruntime-genai runs a multimodal model from four graphs of its own making, which nothing here writes; what it can run
is the decoder, exported for it. So it reads as many positions as our prompt has, of text where ours has rows of the
encoder, chooses a token and makes as many steps. The decoder's work is the same: with one adapter merged in, weights
have the same shapes and bytes as without any.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Self

from edgephi_bench.engines.peers import GENAI, LLAMA, OPTIMUM, TRANSFORMERS, PeerSpec, Runner, open_peer
from edgephi_bench.engines.worker import WorkerError
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure

#: Called with a peer's name, and its version or what went wrong.
OnPeer = Callable[[str, str | WorkerError], None]
STEP = "time per output token"
_REASONS = {
    LLAMA: "it has no Phi-4-multimodal",
    TRANSFORMERS: "it is asked for text alone",
    OPTIMUM: "it has no Phi-4-multimodal",
}
_PREFILL, _FIRST, _DECODE = "stage: prefill", "stage: first token chosen", "stage: decode"


def takes_requests(spec: PeerSpec) -> bool:
    """Whether a peer can be asked for the decoder's part of a request; the others have no such model."""
    return spec.name == GENAI


def lacking(peer: str, mode: str) -> str:
    """Why a peer has no figure for some stages, in a line."""
    if peer != GENAI:
        return f"{peer}, {mode} requests: not measured, as {_REASONS[peer]}"
    return (
        f"{peer}, {mode} requests: '-' for what lies before and after its decoder, as its encoders are graphs of its "
        "own making that `edgephi export --layout genai` does not write; it reads as many tokens of text, without "
        "an adapter"
    )


class PeerRequests:
    """Peers that answer one mode's requests beside us. Use it in a `with` block.

    Args:
        specs: Which; those that cannot be opened are left out.
        threads: The same as ours.
        on_peer: Called with versions and with failures.
    """

    def __init__(self, specs: tuple[PeerSpec, ...], threads: int, on_peer: OnPeer) -> None:
        self._specs, self._threads, self._on_peer = specs, threads, on_peer
        self._runners: dict[str, Runner] = {}
        self._rounds: dict[str, list[list[float]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for runner in self._runners.values():
            runner.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that are open and have not failed."""
        return tuple(self._runners)

    def open(self, max_positions: int) -> None:
        """Start them all, for sequences of up to so many positions."""
        for spec in self._specs:
            try:
                runner = open_peer(spec, threads=self._threads, max_positions=max_positions)
            except WorkerError as error:
                self._on_peer(spec.name, error)
            else:
                self._runners[spec.name] = runner
                self._rounds[spec.name] = []
                self._on_peer(spec.name, runner.version)

    def ask(self, name: str, *, prompt: int, tokens: int, counted: bool) -> None:
        """Let a peer read `prompt` positions and generate `tokens`; one that fails is closed and left out from then on.

        Args:
            name: One of `names`.
            prompt: Positions of our own request.
            tokens: Generated ones.
            counted: False to warm up.
        """
        try:
            seconds = self._runners[name].ask("request", tokens=tokens, depth=prompt)
        except WorkerError as error:
            self._on_peer(name, error)
            self._runners.pop(name).close()
            return
        if counted:
            self._rounds[name].append(seconds)

    def figures(self, mode: str, condition: Condition) -> list[Figure]:
        """The stages of those that answered to the end, under the names of our own."""
        found = []
        for name in self.names:
            rounds = self._rounds[name]
            stages = {
                _PREFILL: [[prefill] for prefill, *_ in rounds],
                _FIRST: [[first] for _, first, *_ in rounds],
                _DECODE: [[sum(steps)] for _, _, *steps in rounds],
                STEP: [steps for _, _, *steps in rounds],
            }
            found += [
                Figure(
                    runner=name,
                    mode=mode,
                    name=stage,
                    condition=condition,
                    samples=tuple(second for item in samples for second in item),
                    rounds=tuple(map(statistics.fmean, samples)),
                )
                for stage, samples in stages.items()
            ]
        return found
