"""Short questions to a server that another client keeps busy with images: how long they wait, what it costs the images.

One client asks about images without end, each as soon as it has the last reply; the other asks its questions likewise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgephi_bench.latency.request_kinds import RequestKind
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.measurement import Figure, percentile
from edgephi_bench.serving.answers import Answer
from edgephi_bench.serving.plan import condition_of
from edgephi_bench.serving.rounds import PairedAnswer, ReadyRequest, RoundRunner

_QUESTION_WAIT = "time to first token behind images"
_BESIDE, _ALONE, _SHARE = "end to end beside questions", "end to end alone", "end to end over that alone"
#: The names of all figures.
FAIRNESS = (_QUESTION_WAIT, _BESIDE, _ALONE, _SHARE)
_QUESTION_TOKENS = 20
#: By then the server has the first image.
_HEAD_START_S = 0.2
#: Images that direct calls answer as well.
_MOST_COMPARED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessResult:
    """The answers of both clients.

    Attributes:
        question: The kind of the questions.
        questions: In order.
        images: Those that the server answered before the last question had its answer, and at least one.
        compared: The first of them, beside the direct calls of the same requests.
    """

    question: RequestKind
    questions: tuple[Answer, ...]
    images: tuple[Answer, ...]
    compared: tuple[PairedAnswer, ...]

    @property
    def wait_p95_s(self) -> float:
        """Of 20 questions 19 had their first token within this."""
        return percentile(tuple(answer.first_s for answer in self.questions), 95)


def measure_fairness(
    runner: RoundRunner, image: RequestKind, count: int, on_line: Callable[[str], None]
) -> FairnessResult:
    """Ask `count` questions while images are asked about.

    Raises:
        EdgeError: A side failed.
    """
    condition = Condition(kind="request", tokens=_QUESTION_TOKENS)
    question = RequestKind(
        mode="text", condition=condition, prompt_tokens=_QUESTION_TOKENS, new_tokens=runner.new_tokens
    )
    has_ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(_ask_images, runner, image, has_ended)
        try:
            time.sleep(_HEAD_START_S)
            questions = []
            for number in range(1, count + 1):
                on_line(f"question {number} of {count} behind images")
                questions += runner.ask_server([[runner.ready(question, repeats=1)]])[0]
        except BaseException:
            runner.server.close()  # breaks the other client's connection, so that its thread ends
            raise
        finally:
            has_ended.set()
        asked = asking.result()
    *before, last = asked
    counted = before or [last]
    compared = counted[:_MOST_COMPARED]
    on_line("the same images by direct calls")
    direct = runner.ask_direct([[request for request, _ in compared]])[0]
    pairs = zip(compared, direct, strict=True)
    return FairnessResult(
        question=question,
        questions=tuple(questions),
        images=tuple(answer for _, answer in counted),
        compared=tuple(PairedAnswer(kind=image, server=server, direct=other) for (_, server), other in pairs),
    )


def _ask_images(
    runner: RoundRunner, image: RequestKind, has_ended: threading.Event
) -> list[tuple[ReadyRequest, Answer]]:
    asked = []
    while not has_ended.is_set():
        request = runner.ready(image, repeats=0)
        asked.append((request, runner.ask_server([[request]])[0][0]))
    return asked


def fairness_figures(result: FairnessResult) -> Iterator[Figure]:
    """Of the questions, and of the images beside them and alone."""
    image = condition_of(result.compared[0].kind, 2)
    waits = tuple(answer.first_s for answer in result.questions)
    yield Figure(runner="server", name=_QUESTION_WAIT, condition=condition_of(result.question, 2), samples=waits)
    ends = tuple(answer.end_s for answer in result.images)
    yield Figure(runner="server", mode="vision", name=_BESIDE, condition=image, samples=ends)
    alone = tuple(pair.direct.end_s for pair in result.compared)
    yield Figure(runner="direct", mode="vision", name=_ALONE, condition=image, samples=alone)
    shares = tuple(pair.server.end_s / pair.direct.end_s for pair in result.compared)
    yield Figure(runner="server", mode="vision", name=_SHARE, condition=image, unit="x", samples=shares)
