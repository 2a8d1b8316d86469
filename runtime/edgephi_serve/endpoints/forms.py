"""The two forms of a conversation, chat.completions and responses: how each is read, answered and refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from edgephi import CapacityError, ConfigError, Event, Reply
from edgephi_serve.errors import ApiError, as_api_error
from edgephi_serve.reading.chat import ChatWork, read_chat
from edgephi_serve.reading.responses import read_responses
from edgephi_serve.settings import Settings
from edgephi_serve.turns.jobs import Job
from edgephi_serve.writing.chat import AnswerHead, ChatWriter
from edgephi_serve.writing.replies import TokenBytes
from edgephi_serve.writing.responses import ResponsesWriter


class AnswerWriter(Protocol):
    """Turns the events of a request into its answer."""

    @property
    def replies(self) -> list[Reply]:
        """Those that are done."""

    def has_enough(self, index: int, /) -> bool:
        """Whether nothing more of a reply could still be given."""

    def note(self, index: int, event: Event, /) -> None:
        """An event of an answer that is given whole."""

    def chunks(self, index: int, event: Event, job: Job[Any], /) -> Iterator[bytes]:
        """The server-sent events of an event."""

    def end(self) -> Iterator[bytes]:
        """The end of a stream."""

    def failure(self, error: ApiError) -> Iterator[bytes]:
        """The end of a stream that fails."""

    def whole(self, job: Job[Any]) -> bytes:
        """The answer in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A request that was read, and how it is answered.

    Attributes:
        work: The request.
        writer: Makes the writer of its answer.
        renamed: A refusal with the names of its fields.
    """

    work: ChatWork
    writer: Callable[[AnswerHead, TokenBytes], AnswerWriter]
    renamed: Callable[[ApiError], ApiError] = lambda error: error

    @contextmanager
    def own_names(self) -> Iterator[None]:
        """Raise what is refused within the block with the names of the request's fields.

        Raises:
            ApiError: In place of each refusal.
        """
        try:
            yield
        except (ApiError, ConfigError, CapacityError) as error:
            raise self.renamed(as_api_error(error)) from None


def chat_form(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> Form:
    """A request of chat.completions.

    Raises:
        EdgeError: It cannot be used.
        ApiError: Likewise.
    """
    work = read_chat(body, settings, model_names)
    return Form(work=work, writer=lambda head, token_bytes: ChatWriter(head, work, token_bytes))


def responses_form(body: bytes, settings: Settings, model_names: tuple[str, ...]) -> Form:
    """A request of responses.

    Raises:
        ApiError: It cannot be used.
    """
    work = read_responses(body, settings, model_names)
    return Form(
        work=work.chat,
        writer=lambda head, token_bytes: ResponsesWriter(head, work, token_bytes),
        renamed=work.renamed,
    )


#: Reads a body of one form.
ReadForm: TypeAlias = Callable[[bytes, Settings, tuple[str, ...]], Form]
