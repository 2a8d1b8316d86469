"""`edgephi inspect`: the content of a model folder, or what images will cost it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from edgephi.base.units import human_bytes, human_count, human_duration
from edgephi.console.commands import MODEL_VARIABLE, GroupedCommand, group
from edgephi.console.completion import complete_files
from edgephi.console.ending import say
from edgephi.console.options import check_hashes_option, detail_option, json_option, max_crops_option

if TYPE_CHECKING:
    from edgephi.bundle.fidelity_info import FidelityInfo
    from edgephi.bundle.manifest import DecoderInfo, GenerationDefaults, RecipeInfo, TokenInfo
    from edgephi.images.detail import Detail
    from edgephi.inspection.folder_summary import FolderSummary
    from edgephi.inspection.image_forecast import ImageForecast
    from edgephi.inspection.weights_summary import StorageSummary, WeightsSummary

_HEADER = ("component", "stored as", "tensors", "weights", "bits/weight", "bytes")
_WIDTHS = (18, 17, 7, 8, 11, 9)


@click.command(cls=GroupedCommand)
@click.argument("model", envvar=MODEL_VARIABLE)
@check_hashes_option
@group(
    "Images",
    click.option(
        "--image",
        "images",
        metavar="FILE",
        multiple=True,
        shell_complete=complete_files,
        help="Show what this image will cost instead, without loading the model; repeat for more.",
    ),
)
@group("Images", max_crops_option)
@group("Images", detail_option)
@json_option
def inspect(
    *, model: str, check_hashes: bool, images: tuple[str, ...], max_crops: int | None, detail: Detail, as_json: bool
) -> None:
    """Show what the model folder MODEL holds: source, recipe, modalities, adapters, precision, sizes.

    With --image: the crops of an image, its tokens in the prompt, and the seconds until the first new token, at the
    speed of the latest request with an image on this machine.

    \b
    Examples:
      edgephi inspect phi4mm
      edgephi inspect phi4mm --check-hashes --json
      edgephi inspect phi4mm --image photo.jpg --max-crops 4
    """
    if images:
        _show_images(model, images, max_crops, detail, as_json=as_json)
        return
    from edgephi.inspection.folder_summary import summarize_folder

    summary = summarize_folder(model, check_hashes=check_hashes)
    click.echo(json.dumps(summary.to_json(), ensure_ascii=False) if as_json else "\n".join(_lines(summary)))


def _show_images(model: str, images: tuple[str, ...], max_crops: int | None, detail: Detail, *, as_json: bool) -> None:
    from edgephi.inspection.image_forecast import forecast_images

    forecasts = forecast_images(model, images, max_crops, detail)
    if as_json:
        click.echo(json.dumps({"images": [one.to_json() for one in forecasts]}, ensure_ascii=False))
        return
    for one in forecasts:
        click.echo(_image_line(one))
    if any(one.seconds is None for one in forecasts):
        say("unknown seconds: no request with an image has taken half a second or more on this machine yet")


def _image_line(one: ImageForecast) -> str:
    def about(seconds: float | None) -> str:
        return "unknown" if seconds is None else f"about {human_duration(seconds)}"

    return (
        f"{one.path}: {one.width}x{one.height} pixels in {one.columns}x{one.rows} crops, {one.tokens:,} positions; "
        f"encode {about(one.encode_s)}, prefill {about(one.prefill_s)}"
    )


def _lines(summary: FolderSummary) -> list[str]:
    hashes = "checked" if summary.hashes_checked else "not checked (--check-hashes)"
    header, *weights = _weights_table(summary.weights)
    files = [(file.path, file.bytes) for file in summary.manifest.files]
    width = max(len(path) for path, _ in files)
    sizes = [*files, ("total", sum(size for _, size in files))]
    return [
        *(f"{name:<9} {value}".rstrip() for name, value in [*_facts(summary), ("hashes", hashes)]),
        "",
        _heading(header),
        *weights,
        "",
        _heading("files"),
        *(f"  {path:<{width}}  {human_bytes(size):>10}" for path, size in sizes),
    ]


def _heading(text: str) -> str:
    return click.style(text, bold=True) if sys.stdout.isatty() else text


def _facts(summary: FolderSummary) -> list[tuple[str, object]]:
    manifest, documents = summary.manifest, summary.documents
    listed_documents = f"({', '.join(documents.files)})" if documents.files else ""
    source, adapters = manifest.source, manifest.adapters
    revision = f" at {source.revision}" if source.revision else ""
    merged = f", with the adapter {source.merged_adapter.id} merged" if source.merged_adapter else ""
    listed = ", ".join(f"{a.name} (rank {a.rank})" for a in adapters.available)
    return [
        ("model", summary.path),
        ("source", f"{source.id}{revision} ({source.model_type}){merged}"),
        ("made by", manifest.generator),
        ("licence", " ".join(filter(None, [documents.licence or "not stated", listed_documents]))),
        *_recipe(manifest.recipe),
        ("takes in", ", ".join(manifest.modalities)),
        ("adapters", f"{adapters.mode}: {listed}" if listed else adapters.mode),
        *_labelled("decoder", _decoder(manifest.decoder)),
        *_labelled("ends at", _ends(manifest.tokens)),
        *_labelled("advice", _advice(manifest.generation)),
        *_labelled("context", _context(summary)),
        *_labelled("fidelity", _fidelity(manifest.fidelity)),
    ]


def _decoder(info: DecoderInfo) -> list[str]:
    return [
        f"{info.num_layers} layers, hidden {info.hidden_size:,}, {info.num_heads} heads of {info.head_size} "
        f"({info.num_kv_heads} key/value)",
        f"vocabulary {info.vocab_size:,}, computes in {info.dtype}",
    ]


def _context(summary: FolderSummary) -> list[str]:
    rope = summary.manifest.rope
    per_token = f"{summary.cache_bytes_per_position:,}"
    if summary.int8_cache_bytes_per_position is not None:
        per_token = f"{summary.int8_cache_bytes_per_position:,} (int8; with --kv-cache float {per_token})"
    return [
        f"{rope.max_positions:,} tokens, long factors beyond {rope.original_max_positions:,}",
        f"KV cache bytes per token: {per_token}",
    ]


def _fidelity(info: FidelityInfo | None) -> list[str]:
    """How close it was to its reference; nothing where that was not recorded."""
    if info is None:
        return []
    modes = [
        f"{one.mode}: KL {one.kl:.2g}, top-1 {one.top1:.1%}, perplexity x{one.perplexity_ratio:.3f}, "
        f"loops {one.loop_rate:.1%} ({one.examples:,} examples)"
        for one in info.modes
    ]
    return [f"beside {info.reference}, {info.kv_cache} cache, {info.date[:10]}", *modes]


def _labelled(label: str, values: list[str]) -> list[tuple[str, object]]:
    """Lines under one label."""
    return [("" if place else label, value) for place, value in enumerate(values)]


def _ends(tokens: TokenInfo) -> list[str]:
    """Spellings, each with the files that name it; folders of earlier versions hold the ids alone."""
    spelled = [f"{end.text}: {', '.join(end.named_by)}" for end in tokens.ends]
    return spelled or [f"token {token_id}" for token_id in tokens.eos]


def _advice(advice: GenerationDefaults) -> list[str]:
    """The checkpoint's recommendation for sampling, and the parts of it that edgephi leaves out."""
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
    anew = ", adapters solved anew" * recipe.absorbed
    if recipe.correction_rank:
        anew += f", correction of rank {recipe.correction_rank}"
    head = ("recipe", f"{recipe.name}, {codes}, activations {recipe.activations}{anew}")
    return [head, *((("rules" if place == 0 else ""), rule) for place, rule in enumerate(rules))]


def _weights_table(weights: WeightsSummary) -> list[str]:
    """Lines of at most 80 characters: a component, below it its formats where there are several, at last the total."""
    rows: list[tuple[str, ...]] = [_HEADER]
    for part in weights.components:
        rows.append(_cells(part.name, part.total))
        rows += [_cells("", stored) for stored in part.formats if len(part.formats) > 1]
    rows.append(_cells("total", weights.total))
    return ["  ".join(_padded(row)).rstrip() for row in rows]


def _cells(name: str, stored: StorageSummary) -> tuple[str, ...]:
    return (
        name,
        stored.format or "mixed",
        f"{stored.num_tensors:,}",
        human_count(stored.num_weights),
        f"{stored.bits_per_weight:.2f}",
        human_bytes(stored.num_bytes),
    )


def _padded(cells: tuple[str, ...]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True)):
        yield cell.ljust(width) if column < 2 else cell.rjust(width)
