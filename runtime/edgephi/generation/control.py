"""How a running request is stopped, timed and observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgephi.base.cancellation import never
from edgephi.base.stage import StageReporter
from edgephi.generation.timing import StageTimer


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestControl:
    """What accompanies a request through all its stages.

    Attributes:
        should_stop: Called between steps of the work; True ends the request.
        timer: Measures each stage; already running.
        stages: Notified of the progress of each stage.
    """

    should_stop: Callable[[], bool] = never
    timer: StageTimer = field(default_factory=StageTimer)
    stages: StageReporter = field(default_factory=StageReporter)
