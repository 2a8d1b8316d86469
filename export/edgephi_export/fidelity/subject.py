"""A model folder under test: what may be asked of it, and what it takes on disk and per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import TOKENIZER_NAME, Bundle
from edgephi.bundle.cache_choice import cache_kind
from edgephi.bundle.manifest import CacheChoice, Manifest
from edgephi.inspection.footprint import memory_estimates
from edgephi.inspection.weights_summary import summarize_weights
from edgephi.prompt.routing import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBytes:
    """Weights that a decode step of one mode reads."""

    mode: Mode
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A model folder, as reports name it.

    Attributes:
        path: As it was given.
        name: The folder's own name.
        manifest_sha256: Of its description.
        source: Where its weights came from.
        recipe: How they are stored.
        method: How codes were chosen; None where there are none.
        adapters: See AdaptersInfo.mode.
        kv_cache: What keys and values were kept in.
        bytes: All of its files.
        bits_per_weight: Scales and zero points included.
        steps: For each mode that it serves.
    """

    path: str
    name: str
    manifest_sha256: str
    source: str
    recipe: str
    method: str | None
    adapters: str
    kv_cache: str
    bytes: int
    bits_per_weight: float
    steps: tuple[StepBytes, ...]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What it can be asked."""
        return tuple(step.mode for step in self.steps)


def folder_facts(path: Path, kv_cache: CacheChoice) -> FolderFacts:
    """Look into a folder without loading it.

    Raises:
        ArtifactError: It is missing, damaged or foreign.
        ConfigError: It has no graphs for `kv_cache`.
    """
    bundle = Bundle(path)
    try:
        manifest = bundle.manifest
        weights = summarize_weights(bundle.tensor_index(), manifest.decoder.embedding.values)
        return FolderFacts(
            path=str(path),
            name=path.resolve().name,
            manifest_sha256=bundle.manifest_sha256,
            source=manifest.source.id,
            recipe=manifest.recipe.name,
            method=manifest.recipe.method,
            adapters=manifest.adapters.mode,
            kv_cache=cache_kind(manifest, kv_cache),
            bytes=sum(file.bytes for file in manifest.files),
            bits_per_weight=weights.total.bits_per_weight,
            steps=tuple(
                StepBytes(mode=one.mode, bytes=one.step_bytes)
                for one in memory_estimates(bundle, cache_kind(manifest, kv_cache))
            ),
        )
    finally:
        bundle.close()


def check_same_model(reference: Path, models: Sequence[Path]) -> None:
    """Refuse folders that do not read the same tokens.

    Raises:
        ArtifactError: A folder is missing, damaged or foreign.
        ConfigError: One has another vocabulary or tokenizer than the reference.
    """
    wanted = _tokens(reference)
    for path in models:
        if _tokens(path) != wanted:
            raise ConfigError(
                f"{path}: has another vocabulary or tokenizer than {reference}; compare exports of one checkpoint"
            )


def _tokens(path: Path) -> tuple[int, str]:
    bundle = Bundle(path)
    manifest: Manifest = bundle.manifest
    bundle.close()
    return manifest.decoder.vocab_size, next(file.sha256 for file in manifest.files if file.path == TOKENIZER_NAME)
