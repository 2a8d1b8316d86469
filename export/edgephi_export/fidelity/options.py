"""The options of a comparison, and the examples that they choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.manifest import CacheChoice
from edgephi_export.calibration.examples import Example, read_examples
from edgephi_export.calibration.requests import builtin_examples
from edgephi_export.fidelity.requirements import Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityOptions:
    """What is compared, and how.

    Attributes:
        models: Folders that are judged.
        reference: The folder that they are judged by: an export with the recipe fp32.
        examples: A folder of examples; None for those that come with edgephi.
        limit: Most examples of each set; None for all.
        max_new_tokens: Most tokens of a reply.
        kv_cache: What the models keep keys and values in; the reference always keeps floats.
        threads: Threads that the models run with; None for the physical cores.
        work_dir: Keeps finished examples, so that the same comparison can go on later; None for a folder that is
            removed at the end.
        parts: Also measure what each layer and each kind of tensor costs alone.
        requirements: That every model must meet.
        command: The command line, for the report.
    """

    models: tuple[Path, ...]
    reference: Path
    examples: Path | None = None
    limit: int | None = None
    max_new_tokens: int = 256
    kv_cache: CacheChoice = "auto"
    threads: int | None = None
    work_dir: Path | None = None
    parts: bool = False
    requirements: tuple[Requirement, ...] = ()
    command: tuple[str, ...] = ()


def chosen_examples(examples: Path | None, limit: int | None, reference: Path) -> tuple[Example, ...]:
    """The examples of a comparison, whatever their modes; the fields are those of FidelityOptions.

    Raises:
        ConfigError: They cannot be used.
        ArtifactError: The reference is damaged.
    """
    if examples is None:
        bundle = Bundle(reference)
        bundle.close()
        return builtin_examples(bundle.manifest)
    counts: dict[str, int] = {}
    kept = []
    for example in read_examples(examples):
        counts[example.group] = counts.get(example.group, 0) + 1
        if limit is None or counts[example.group] <= limit:
            kept.append(example)
    return tuple(kept)
