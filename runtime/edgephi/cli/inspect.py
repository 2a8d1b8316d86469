"""`edgephi inspect`: what is in a model folder."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.units import human_bytes
from edgephi.console.commands import MODEL_VARIABLE, GroupedCommand
from edgephi.console.options import check_hashes_option, json_option

if TYPE_CHECKING:
    from edgephi.bundle.bundle import Bundle
    from edgephi.bundle.documents import Papers
    from edgephi.bundle.manifest import CacheKind, GenerationDefaults, Manifest, RecipeInfo, TokenInfo
    from edgephi.inspection.weights_summary import Component


@click.command(cls=GroupedCommand)
@click.argument("model", envvar=MODEL_VARIABLE)
@check_hashes_option
@json_option
def inspect(model: str, check_hashes: bool, as_json: bool) -> None:
    """Show what the model folder MODEL holds: source, recipe, modalities, adapters, precision, sizes.

    \b
    Examples:
      edgephi inspect phi4mm
      edgephi inspect phi4mm --check-hashes --json
    """
    from edgephi.bundle.bundle import Bundle
    from edgephi.inspection.weights_summary import components

    bundle = Bundle(model, check_hashes=check_hashes)
    parts = components(bundle.tensor_index(), bundle.manifest.decoder.embedding.values)
    if as_json:
        facts = {
            **describe(bundle.manifest),
            **_papers_json(bundle),
            **_weights_json(parts),
            "hashes_checked": check_hashes,
        }
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(bundle, parts, check_hashes)))


def describe(manifest: Manifest) -> dict[str, Any]:
    """What the manifest tells, ready for JSON."""
    decoder, rope, adapters = manifest.decoder, manifest.rope, manifest.adapters
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
        "decoder": {
            "layers": decoder.num_layers,
            "hidden_size": decoder.hidden_size,
            "heads": decoder.num_heads,
            "kv_heads": decoder.num_kv_heads,
            "head_size": decoder.head_size,
            "vocabulary": decoder.vocab_size,
            "dtype": decoder.dtype,
        },
        "context": {
            "positions": rope.max_positions,
            "long_factors_beyond": rope.original_max_positions,
            "cache_bytes_per_position": _cache_bytes(manifest, "float"),
            "int8_cache_bytes_per_position": None if decoder.int8_cache is None else _cache_bytes(manifest, "int8"),
        },
        "files": [{"path": file.path, "bytes": file.bytes} for file in manifest.files],
        "total_bytes": sum(file.bytes for file in manifest.files),
    }


def _papers_json(bundle: Bundle) -> dict[str, Any]:
    papers = _papers(bundle)
    return {"licence": papers.licence, "papers": list(papers.files)}


def _papers(bundle: Bundle) -> Papers:
    from edgephi.bundle.documents import read_papers

    return read_papers(bundle.files.folder, (file.path for file in bundle.manifest.files))


def _cache_bytes(manifest: Manifest, kind: CacheKind) -> int:
    from edgephi.cache.kv_cache import cache_shape

    return cache_shape(manifest, kind=kind).bytes_per_position


def _weights_json(parts: tuple[Component, ...]) -> dict[str, Any]:
    from edgephi.inspection.weights_summary import overall

    return {"components": [part.to_json() for part in parts], "weights": overall(parts).to_json()}


def _lines(bundle: Bundle, parts: tuple[Component, ...], hashes_checked: bool) -> list[str]:
    from edgephi.inspection.weights_summary import table

    rows = [*_facts(bundle), ("hashes", "checked" if hashes_checked else "not checked (--check-hashes)")]
    header, *weights = table(parts)
    files = [(file.path, file.bytes) for file in bundle.manifest.files]
    width = max(len(path) for path, _ in files)
    listed = [f"  {path:<{width}}  {human_bytes(size):>10}" for path, size in files]
    total = f"  {'total':<{width}}  {human_bytes(sum(size for _, size in files)):>10}"
    return [
        *(f"{name:<9} {value}".rstrip() for name, value in rows),
        "",
        _heading(header),
        *weights,
        "",
        _heading("files"),
        *listed,
        total,
    ]


def _heading(text: str) -> str:
    return click.style(text, bold=True) if sys.stdout.isatty() else text


def _facts(bundle: Bundle) -> list[tuple[str, object]]:
    manifest, papers = bundle.manifest, _papers(bundle)
    listed_papers = f"({', '.join(papers.files)})" if papers.files else ""
    source, info, rope, adapters = manifest.source, manifest.decoder, manifest.rope, manifest.adapters
    revision = f" at {source.revision}" if source.revision else ""
    merged = f", with the adapter {source.merged_adapter.id} merged" if source.merged_adapter else ""
    listed = ", ".join(f"{a.name} (rank {a.rank})" for a in adapters.available)
    has_int8 = info.int8_cache is not None
    per_token = f"{_cache_bytes(manifest, 'float'):,}"
    if has_int8:
        per_token = f"{_cache_bytes(manifest, 'int8'):,} (int8; with --kv-cache float {per_token})"
    return [
        ("model", bundle.path),
        ("source", f"{source.id}{revision} ({source.model_type}){merged}"),
        ("made by", manifest.generator),
        ("licence", " ".join(filter(None, [papers.licence or "not stated", listed_papers]))),
        *_recipe(manifest.recipe),
        ("takes in", ", ".join(manifest.modalities)),
        ("adapters", f"{adapters.mode}: {listed}" if listed else adapters.mode),
        (
            "decoder",
            f"{info.num_layers} layers, hidden {info.hidden_size:,}, {info.num_heads} heads of {info.head_size} "
            f"({info.num_kv_heads} key/value)",
        ),
        ("", f"vocabulary {info.vocab_size:,}, computes in {info.dtype}"),
        *_labelled("ends at", _ends(manifest.tokens)),
        *_labelled("advice", _advice(manifest.generation)),
        ("context", f"{rope.max_positions:,} tokens, long factors beyond {rope.original_max_positions:,}"),
        ("", f"KV cache bytes per token: {per_token}"),
    ]


def _labelled(label: str, values: list[str]) -> list[tuple[str, object]]:
    """Lines under one label."""
    return [("" if place else label, value) for place, value in enumerate(values)]


def _ends(tokens: TokenInfo) -> list[str]:
    """Spellings, with who names each; of folders of earlier versions the ids alone are known."""
    spelled = [f"{end.text}: {', '.join(end.named_by)}" for end in tokens.ends]
    return spelled or [f"token {token_id}" for token_id in tokens.eos]


def _advice(advice: GenerationDefaults) -> list[str]:
    """What the checkpoint recommends for choosing tokens, and what of it edgephi leaves out."""
    parts = ["the likeliest token"]
    if advice.temperature:
        drawn = {"top_k": advice.top_k, "top_p": advice.top_p, "min_p": advice.min_p}
        neutral = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
        limits = [f"{name} {value:g}" for name, value in drawn.items() if value != neutral[name]]
        parts = [f"temperature {advice.temperature:g}", *limits]
    if advice.repetition_penalty != 1:
        parts.append(f"repetition_penalty {advice.repetition_penalty:g}")
    return [", ".join(parts), *(f"not done: {left_out}" for left_out in advice.not_applied)]


def _recipe(recipe: RecipeInfo) -> list[tuple[str, object]]:
    width = max((len(rule.pattern) for rule in recipe.rules), default=0)
    rules = [f"{rule.pattern:<{width}}  {rule.format}" for rule in recipe.rules]
    codes = f"codes by {recipe.method}" if recipe.method else "no codes"
    head = ("recipe", f"{recipe.name}, {codes}, activations {recipe.activations}")
    return [head, *((("rules" if place == 0 else ""), rule) for place, rule in enumerate(rules))]
