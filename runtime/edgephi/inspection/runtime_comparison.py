"""A folder for another runtime, run there and compared with edgephi's own; what does it is in the export package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgephi.inspection.plugins import find_plugin

#: By how many standard deviations of the logits another runtime may be off: other kernels round otherwise.
MOST_DEVIATION = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestComparison:
    """One request through both runtimes, greedily.

    Attributes:
        name: The request.
        mode: `text`, `speech`, `vision` or `vision_speech`.
        num_positions: Positions of its prompt, media included.
        deviation: The largest difference of the first logits, in standard deviations of ours.
        num_tokens: Tokens of edgephi's reply.
        first_difference: The first token that differs, from 0; None where the replies are the same.
    """

    name: str
    mode: str
    num_positions: int
    deviation: float
    num_tokens: int
    first_difference: int | None

    @property
    def ok(self) -> bool:
        """Whether the other runtime gives what edgephi gives."""
        return self.first_difference is None and self.deviation <= MOST_DEVIATION


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeComparison:
    """The findings about one folder.

    Attributes:
        folder: The folder.
        runtime: The name of the other runtime's library.
        version: Its version.
        reference: What edgephi ran.
        requests: In the order they were run.
    """

    folder: Path
    runtime: str
    version: str
    reference: str
    requests: tuple[RequestComparison, ...]

    @property
    def problem(self) -> str | None:
        """One line about what is wrong; None where nothing is."""
        off = [request for request in self.requests if not request.ok]
        if not off:
            return None
        return (
            f"{self.folder}: {self.runtime} {self.version} answers {len(off)} of {len(self.requests)} requests in "
            "another way than edgephi; export the folder again, or use a version that docs/layouts.md names"
        )


class CompareRuntime(Protocol):
    """The host package's function."""

    def __call__(
        self, folder: Path, runtime: str, reference: str, on_request: Callable[[int, int], None]
    ) -> RuntimeComparison:
        """Run the requests.

        Args:
            folder: Written for the runtime.
            runtime: Its name.
            reference: A model folder of edgephi of the same recipe, or the checkpoint of both.
            on_request: Called with requests done and requests in all.

        Raises:
            ConfigError: An unknown runtime, or a reference of another recipe or model.
            ArtifactError: A folder is damaged or none of its kind.
            EdgeError: The runtime's library is not installed. The message says what to run.
        """


def find_compare_runtime() -> CompareRuntime:
    """The host package's function.

    Raises:
        EdgeError: It is not installed. The message is the pip command.
    """
    compare: CompareRuntime = find_plugin("compare-runtime", "comparing runtimes")
    return compare
