"""`edgephi inspect`: what is in a model folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgephi.cli.options import json_option

if TYPE_CHECKING:
    from edgephi.manifest import Manifest


@click.command()
@click.argument("model")
@click.option("--check-hashes", is_flag=True, help="Also read every file and compare its sha256.")
@json_option
def inspect(model: str, check_hashes: bool, as_json: bool) -> None:
    """Show what the model folder MODEL holds: source, recipe, modalities, adapters, sizes.

    \b
    Examples:
      edgephi inspect phi4mm
      edgephi inspect phi4mm --check-hashes --json
    """
    from edgephi.bundle import Bundle

    facts = describe(Bundle(model, check_hashes=check_hashes).manifest)
    facts["hashes_checked"] = check_hashes
    click.echo(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(_lines(model, facts)))


def describe(manifest: Manifest) -> dict[str, Any]:
    """The facts that `inspect` prints, ready for JSON."""
    decoder, rope, adapters = manifest.decoder, manifest.rope, manifest.adapters
    return {
        "generator": manifest.generator,
        "schema_version": manifest.schema_version,
        "source": {
            "id": manifest.source.id,
            "revision": manifest.source.revision,
            "model_type": manifest.source.model_type,
        },
        "recipe": manifest.recipe.name,
        "modalities": list(manifest.modalities),
        "adapters": {
            "mode": adapters.mode,
            "available": [{"name": a.name, "rank": a.rank, "scale": a.scale} for a in adapters.available],
        },
        "decoder": {
            "layers": decoder.num_layers,
            "hidden_size": decoder.hidden_size,
            "heads": decoder.num_heads,
            "kv_heads": decoder.num_kv_heads,
            "head_size": decoder.head_size,
            "vocabulary": decoder.vocab_size,
        },
        "context": {"positions": rope.max_positions, "long_factors_beyond": rope.original_max_positions},
        "files": [{"path": file.path, "bytes": file.bytes} for file in manifest.files],
        "total_bytes": sum(file.bytes for file in manifest.files),
    }


def _lines(model: str, facts: dict[str, Any]) -> list[str]:
    source, decoder, adapters = facts["source"], facts["decoder"], facts["adapters"]
    revision = f" at {source['revision']}" if source["revision"] else ""
    listed = ", ".join(f"{a['name']} (rank {a['rank']})" for a in adapters["available"])
    rows = [
        ("model", model),
        ("source", f"{source['id']}{revision} ({source['model_type']})"),
        ("made by", facts["generator"]),
        ("recipe", facts["recipe"]),
        ("takes in", ", ".join(facts["modalities"])),
        ("adapters", f"{adapters['mode']}: {listed}" if listed else adapters["mode"]),
        (
            "decoder",
            f"{decoder['layers']} layers, hidden {decoder['hidden_size']:,}, {decoder['heads']} heads of "
            f"{decoder['head_size']} ({decoder['kv_heads']} key/value), vocabulary {decoder['vocabulary']:,}",
        ),
        (
            "context",
            f"{facts['context']['positions']:,} positions, long factors beyond "
            f"{facts['context']['long_factors_beyond']:,}",
        ),
        ("hashes", "checked" if facts["hashes_checked"] else "not checked (--check-hashes)"),
    ]
    width = max(len(file["path"]) for file in facts["files"])
    files = [f"  {file['path']:<{width}}  {human_bytes(file['bytes']):>10}" for file in facts["files"]]
    total = f"  {'total':<{width}}  {human_bytes(facts['total_bytes']):>10}"
    return [*(f"{name:<9} {value}" for name, value in rows), "files", *files, total]


def human_bytes(count: int) -> str:
    """`1.5 MB`: decimal units, as disks are sold."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
