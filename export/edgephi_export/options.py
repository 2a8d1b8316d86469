"""What an export can be asked to do, and how it tells of its progress.

Owns the two records that callers see. Knows nothing about how an export works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an export does besides its input and output.

    Attributes:
        recipe: How weights are stored.
        adapters: `routed`, `speech`, `vision` or `none`; None is routed where the model has adapters.
        modalities: `text` and the encoders to include; None is all that the adapters allow.
        force: Replace an existing model folder, at the end.
    """

    recipe: str = "fp32"
    adapters: str | None = None
    modalities: tuple[str, ...] | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an export is.

    Attributes:
        stage: What is being done.
        done_bytes: Weight bytes written so far.
        total_bytes: Weight bytes in all.
    """

    stage: str
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]
