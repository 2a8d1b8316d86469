"""The outcomes of a run as a table and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from mutations.runner import Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each mutation, what survived at the end with its reason, and the counts."""
    width = max(len(outcome.mutation.name) for outcome in outcomes)
    lines = [
        f"{outcome.mutation.name:<{width}}  {outcome.verdict:<8}  {outcome.seconds:6.1f} s  {outcome.by}".rstrip()
        for outcome in outcomes
    ]
    for outcome in outcomes:
        if outcome.verdict == "survived":
            mutation = outcome.mutation
            lines += [
                "",
                f"{mutation.name} in {mutation.file}: {mutation.why}",
                f"- {mutation.old}",
                f"+ {mutation.new}",
            ]
    return "\n".join([*lines, "", _counts(outcomes)])


def as_json(outcomes: Sequence[Outcome]) -> str:
    """One JSON object."""
    facts = [
        {
            "name": outcome.mutation.name,
            "file": outcome.mutation.file,
            "why": outcome.mutation.why,
            "verdict": outcome.verdict,
            "by": outcome.by,
            "seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes
    ]
    counts = Counter(outcome.verdict for outcome in outcomes)
    return json.dumps({"counts": {name: counts[name] for name in ("caught", "survived", "error")}, "mutations": facts})


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    return (
        f"{len(outcomes)} mutations: {counts['caught']} caught, {counts['survived']} survived, {counts['error']} errors"
    )
