"""What a suite is, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgephi_evaluate.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFacts:
    """Of one suite."""

    suite: Suite

    def lines(self) -> Iterator[str]:
        """In words."""
        one = self.suite
        yield f"{one.name}: {one.summary}"
        yield f"  data: {one.source}"
        yield f"  columns: {', '.join(column.replace('|', ' or ') for column in one.columns)}"
        for part in one.parts:
            rows = "" if part.rows is None else f", {part.rows:,} rows"
            yield f"  part {part.name or 'all'}: {', '.join(part.patterns)}{rows}"
        yield f"  prompt: {one.prompt!r}, at most {one.max_new_tokens:,} tokens, greedy"
        yield f"  figure: {one.metric.words}{', the mean of the parts' if one.overall == 'mean' else ''}"
        for published in one.published:
            yield f"  published: {published.part or 'in all'} {published.value:g} ({published.source})"
        for note in one.notes:
            yield f"  note: {note}"

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        one = self.suite
        return {
            "name": one.name,
            "summary": one.summary,
            "source": one.source,
            "version": one.version,
            "columns": list(one.columns),
            "parts": [{"name": p.name, "patterns": list(p.patterns), "rows": p.rows} for p in one.parts],
            "prompt": one.prompt,
            "max_new_tokens": one.max_new_tokens,
            "metric": one.metric.name,
            "published": [{"part": p.part, "value": p.value, "source": p.source} for p in one.published],
            "notes": list(one.notes),
        }


def suite_facts(suite: Suite) -> SuiteFacts:
    """The facts of a suite."""
    return SuiteFacts(suite=suite)
