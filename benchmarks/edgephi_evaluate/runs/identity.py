"""`RunIdentity`: all that the figures of a run depend on. Answers of two identities are never mixed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineIdentity:
    """What answers.

    Attributes:
        name: Of the engine.
        version: Of the engine and of what it runs on.
        model: Path or name of the model; the same folder may lie elsewhere later.
        model_sha256: Of the folder's manifest; empty where there is none, as of a server.
        recipe: How the weights are stored, where it is known.
        settings: Other choices that change answers.
    """

    name: str
    version: str
    model: str
    model_sha256: str = ""
    recipe: str = ""
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteIdentity:
    """What is asked.

    Attributes:
        name: Of the suite.
        version: Of the suite.
        data_sha256: Of the data files.
        prompt: The suite's prompt or its pattern.
        metric: Name of the metric.
        max_new_tokens: Most tokens of a reply.
        adapter: See Suite.
        items: How many are asked, over all shards.
        limit: Most of each part; None for all.
        seed: Of the draw, where there is a limit.
    """

    name: str
    version: int
    data_sha256: str
    prompt: str
    metric: str
    max_new_tokens: int
    adapter: str
    items: int
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """Engine and suite."""

    engine: EngineIdentity
    suite: SuiteIdentity

    def digest(self) -> str:
        """A hash of everything but the place of the model."""
        engine = dataclasses.replace(self.engine, model="" if self.engine.model_sha256 else self.engine.model)
        text = json.dumps([dataclasses.asdict(engine), dataclasses.asdict(self.suite)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def difference(self, other: RunIdentity) -> str:
        """The first thing in which another differs, in words; empty where nothing does."""
        for mine, theirs in ((self.engine, other.engine), (self.suite, other.suite)):
            for field in dataclasses.fields(mine):
                one, two = getattr(mine, field.name), getattr(theirs, field.name)
                if one != two and (field.name != "model" or not self.engine.model_sha256):
                    return f"{field.name.replace('_', ' ')} {one!r}, not {two!r}"
        return ""
