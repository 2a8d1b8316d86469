"""The content of a model folder, without loading it: the facts of `edgephi inspect`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.bundle.bundle import Bundle
from edgephi.bundle.documents import Documents, read_documents
from edgephi.bundle.manifest import Manifest
from edgephi.cache.kv_cache import cache_shape
from edgephi.inspection.weights_summary import WeightsSummary, summarize_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSummary:
    """A model folder's description.

    Attributes:
        path: The folder.
        manifest: Its manifest.
        documents: The licence and other documents.
        weights: Its tensors summed up.
        cache_bytes_per_position: Of a KV cache in floats.
        int8_cache_bytes_per_position: Of one in int8; None where the folder has no graphs for it.
        hashes_checked: Whether every file was read and compared with its sha256.
    """

    path: Path
    manifest: Manifest
    documents: Documents
    weights: WeightsSummary
    cache_bytes_per_position: int
    int8_cache_bytes_per_position: int | None
    hashes_checked: bool

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            **_manifest_json(self.manifest),
            "context": {
                "positions": self.manifest.rope.max_positions,
                "long_factors_beyond": self.manifest.rope.original_max_positions,
                "cache_bytes_per_position": self.cache_bytes_per_position,
                "int8_cache_bytes_per_position": self.int8_cache_bytes_per_position,
            },
            "files": [{"path": file.path, "bytes": file.bytes} for file in self.manifest.files],
            "total_bytes": sum(file.bytes for file in self.manifest.files),
            "licence": self.documents.licence,
            "papers": list(self.documents.files),
            **self.weights.to_json(),
            "hashes_checked": self.hashes_checked,
        }


def summarize_folder(path: str | Path, *, check_hashes: bool = False) -> FolderSummary:
    """Describe a model folder.

    Args:
        path: The folder.
        check_hashes: Also read every file and compare its sha256.

    Raises:
        ArtifactError: The folder or a file is missing, damaged or foreign.
    """
    bundle = Bundle(path, check_hashes=check_hashes)
    manifest = bundle.manifest
    has_int8 = manifest.decoder.int8_cache is not None
    return FolderSummary(
        path=bundle.path,
        manifest=manifest,
        documents=read_documents(bundle.files.folder, (file.path for file in manifest.files)),
        weights=summarize_weights(bundle.tensor_index(), manifest.decoder.embedding.values),
        cache_bytes_per_position=cache_shape(manifest, kind="float").bytes_per_position,
        int8_cache_bytes_per_position=cache_shape(manifest, kind="int8").bytes_per_position if has_int8 else None,
        hashes_checked=check_hashes,
    )


def _manifest_json(manifest: Manifest) -> dict[str, Any]:
    decoder, adapters = manifest.decoder, manifest.adapters
    return {
        "generator": manifest.generator,
        "schema_version": manifest.schema_version,
        "source": {
            "id": manifest.source.id,
            "revision": manifest.source.revision,
            "model_type": manifest.source.model_type,
            "merged_adapter": manifest.source.merged_adapter and manifest.source.merged_adapter.id,
        },
        "recipe": dataclasses.asdict(manifest.recipe),
        "modalities": list(manifest.modalities),
        "adapters": {
            "mode": adapters.mode,
            "available": [{"name": a.name, "rank": a.rank, "scale": a.scale} for a in adapters.available],
        },
        "ends": [dataclasses.asdict(end) for end in manifest.tokens.ends],
        "advice": dataclasses.asdict(manifest.generation),
        "fidelity": manifest.fidelity and dataclasses.asdict(manifest.fidelity),
        "decoder": {
            "layers": decoder.num_layers,
            "hidden_size": decoder.hidden_size,
            "heads": decoder.num_heads,
            "kv_heads": decoder.num_kv_heads,
            "head_size": decoder.head_size,
            "vocabulary": decoder.vocab_size,
            "dtype": decoder.dtype,
        },
    }
