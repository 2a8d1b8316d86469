"""What a worker does with items: sent to it once, so it can be pickled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from edgephi_batch.row import Row

if TYPE_CHECKING:
    from edgephi import Model, ModelOptions


class HasId(Protocol):
    """Anything that can be worked on: it pickles, and its id is unique in a run."""

    @property
    def id(self) -> str:
        """Its name in the results."""


T = TypeVar("T", bound=HasId)
T_contra = TypeVar("T_contra", bound=HasId, contravariant=True)
#: Makes the row of an item; the question is whether its time is over.
Do: TypeAlias = Callable[[T, Callable[[], bool]], Row]


class Work(Protocol[T_contra]):
    """The work on every item of a run."""

    def open(self) -> Do[T_contra]:
        """Called once in each worker.

        Raises:
            EdgeError: This worker cannot do it, such as for a model folder that is not there.
        """

    def failed(self, item: T_contra, error: str, elapsed_s: float) -> Row:
        """The row of an item without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """The model of each worker.

    Attributes:
        path: The model folder, on every machine.
        options: How it is loaded there.
    """

    path: str
    options: ModelOptions

    def load(self) -> Model:
        """Load it for the rest of the process, whose sessions share one pool of threads.

        Raises:
            EdgeError: As `Model.load`.
        """
        from edgephi import Model  # noqa: PLC0415 - only workers load a model
        from edgephi.ort.session import share_threads  # noqa: PLC0415

        share_threads()
        return Model.load(self.path, self.options)
