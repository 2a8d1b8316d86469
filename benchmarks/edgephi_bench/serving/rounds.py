"""Rounds in which the server and direct calls answer the same requests in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import Any

from edgephi.base.errors import EdgeError
from edgephi_bench.engines.worker import Worker
from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.latency.rounds import rest
from edgephi_bench.serving.answers import Answer
from edgephi_bench.serving.chat_client import ChatClient, RequestError
from edgephi_bench.serving.contents import Ask, chat_body, make_content
from edgephi_bench.serving.plan import SIDES, Side
from edgephi_bench.serving.server_process import ServerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedAnswer:
    """The answers to one request.

    Attributes:
        kind: Of the request.
        server: Through the server.
        direct: Of a direct call.
    """

    kind: RequestKind
    server: Answer
    direct: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """One round with some number of clients.

    Attributes:
        pairs: Of every request.
        server_s: Until the server had answered all.
        direct_s: For the same by direct calls, one after the other.
    """

    pairs: tuple[PairedAnswer, ...]
    server_s: float
    direct_s: float

    @property
    def new_tokens(self) -> int:
        """Generated on each side."""
        return sum(pair.server.new_tokens for pair in self.pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyRequest:
    """One request, ready for both sides."""

    kind: RequestKind
    ask: Ask
    body: bytes


@dataclass(slots=True, kw_only=True)
class RoundRunner:
    """Asks both sides.

    Attributes:
        server: Answers its clients.
        worker: Answers direct calls.
        kinds: Of the requests, each with how often its text repeats a sentence.
        new_tokens: Of each reply.
        eos: Ids of the tokens that would end a reply.
        delay_s: Rest before every turn, besides the moment that thread pools need.
    """

    server: ServerProcess
    worker: Worker
    kinds: tuple[tuple[RequestKind, int], ...]
    new_tokens: int
    eos: tuple[int, ...]
    delay_s: float = 0.0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def round(self, clients: int, number: int) -> RoundResult:
        """Every client sends one request of each kind, each client beginning with another.

        With one client the sides take turns at every request, else at the whole round.

        Raises:
            EdgeError: A side failed.
        """
        of_clients = [self._requests(client + number) for client in range(clients)]
        groups = [of_clients] if clients > 1 else [[[request]] for request in of_clients[0]]
        pairs: list[PairedAnswer] = []
        seconds = dict.fromkeys(SIDES, 0.0)
        for place, group in enumerate(groups):
            answers: dict[Side, list[Answer]] = {}
            for side in SIDES if (number + place) % 2 else SIDES[::-1]:
                rest(self.delay_s)
                answers[side], took_s = self.ask_server(group) if side == "server" else self.ask_direct(group)
                seconds[side] += took_s
            requests = [request for requests in group for request in requests]
            pairs += [
                PairedAnswer(kind=request.kind, server=replace(served, num_before=direct.num_before), direct=direct)
                for request, served, direct in zip(requests, answers["server"], answers["direct"], strict=True)
            ]
        return RoundResult(pairs=tuple(pairs), server_s=seconds["server"], direct_s=seconds["direct"])

    def _requests(self, first: int) -> list[ReadyRequest]:
        """One of each kind, beginning with kind `first`, going round."""
        found = []
        for place in range(len(self.kinds)):
            kind, repeats = self.kinds[(first + place) % len(self.kinds)]
            found.append(self.ready(kind, repeats))
        return found

    def ready(self, kind: RequestKind, repeats: int) -> ReadyRequest:
        """Another request of a kind, whose text repeats a sentence so often."""
        ask = Ask(
            number=next(self._numbers),
            repeats=repeats,
            audio_s=kind.audio_s,
            image=kind.image,
            new_tokens=self.new_tokens,
        )
        return ReadyRequest(kind=kind, ask=ask, body=chat_body(make_content(ask), self.new_tokens, self.eos))

    def ask_server(self, group: list[list[ReadyRequest]]) -> tuple[list[Answer], float]:
        """Answers and seconds of all clients at once; each sends its next request when it has its last reply.

        Raises:
            EdgeError: The server failed.
        """
        clients = [self.server.client() for _ in group]
        try:
            began = time.perf_counter()
            with ThreadPoolExecutor(len(group)) as pool:
                try:
                    tasks = [pool.submit(self._ask_all, *task) for task in zip(clients, group, strict=True)]
                    for task in as_completed(tasks):
                        task.result()
                except BaseException:
                    self.server.close()  # breaks the other clients' connections, so that their threads end
                    raise
            took_s = time.perf_counter() - began
        finally:
            for client in clients:
                client.close()
        return [answer for task in tasks for answer in task.result()], took_s

    def _ask_all(self, client: ChatClient, requests: list[ReadyRequest]) -> list[Answer]:
        try:
            answers = [client.ask(request.body) for request in requests]
        except RequestError:
            self.server.check()
            raise
        for answer in answers:
            self._check(answer)
        return answers

    def ask_direct(self, group: list[list[ReadyRequest]]) -> tuple[list[Answer], float]:
        """Answers and seconds, one request after the other; making the requests does not count.

        Raises:
            EdgeError: The direct calls failed.
        """
        asks = [asdict(request.ask) for requests in group for request in requests]
        result: dict[str, Any] = self.worker.ask("requests", asks=asks)
        return [Answer(**fields) for fields in result["answers"]], float(result["seconds"])

    def _check(self, answer: Answer) -> None:
        if answer.new_tokens != self.new_tokens:
            raise EdgeError(
                f"the server ended a reply after {answer.new_tokens} of {self.new_tokens} tokens; it took longer than "
                "a request may, or the context is full: use fewer --new-tokens or shorter requests"
            )
