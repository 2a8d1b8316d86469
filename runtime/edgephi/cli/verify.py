"""`edgephi verify`: whether a model folder is whole, and close to the checkpoint it was made from."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.base.units import human_bytes
from edgephi.console.commands import MODEL_VARIABLE, GroupedCommand, group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option
from edgephi.console.progress import ProgressLine

if TYPE_CHECKING:
    from edgephi.inspection.comparison import TensorComparison
    from edgephi.inspection.runtime_comparison import RuntimeComparison
    from edgephi.inspection.verification import Verification

_MOST_ROWS = 10


@click.command(cls=GroupedCommand)
@click.argument("model", envvar=MODEL_VARIABLE)
@group(
    "Comparison",
    click.option("--reference", metavar="CHECKPOINT", help="Also compare every tensor with this checkpoint."),
    click.option(
        "--runtime",
        metavar="NAME",
        help="Run a folder of another layout in the runtime that it was made for, and compare its answers with "
        "edgephi's: genai, optimum or transformersjs. --reference is then the checkpoint, or edgephi's own model "
        "folder of it.",
    ),
)
@json_option
def verify(model: str, reference: str | None, runtime: str | None, as_json: bool) -> None:
    """Read every file of the model folder MODEL and compare its sha256 with the manifest.

    With --reference, a local folder or Hugging Face id, the manifest and every stored tensor are also compared with
    their source; that needs the packages of `edgephi export`. The exit code is 3 if anything is off.

    With --runtime, requests that come with edgephi are run in both runtimes: the first logits and the replies must be
    the same. A checkpoint as --reference is exported once more, with the recipe and the parts of MODEL.

    \b
    Examples:
      edgephi verify phi4mm
      edgephi verify phi4mm --reference microsoft/Phi-4-multimodal-instruct
      edgephi verify phi4mm-genai --runtime genai --reference ./Phi-4-multimodal-instruct
    """
    if runtime is not None:
        _verify_runtime(Path(model), runtime, reference, as_json=as_json)
        return
    from edgephi.inspection.verification import verify_folder

    with ProgressLine() as progress:
        result = verify_folder(
            model, reference, on_read=progress.counter("reading"), on_compare=progress.counter("comparing")
        )
    click.echo(json.dumps(_json(result), ensure_ascii=False) if as_json else "\n".join(_lines(result)))
    if result.problem is not None:
        end_unsuccessful(result.problem, ArtifactError.exit_code)


def _verify_runtime(folder: Path, runtime: str, reference: str | None, *, as_json: bool) -> None:
    from edgephi.inspection.runtime_comparison import find_compare_runtime

    if reference is None:
        raise ConfigError("--runtime compares with edgephi: add --reference, the checkpoint or edgephi's model folder")
    compare = find_compare_runtime()
    with ProgressLine() as progress:
        result = compare(folder, runtime, reference, progress.counter("running"))
    click.echo(json.dumps(_runtime_json(result)) if as_json else "\n".join(_runtime_lines(result)))
    if result.problem is not None:
        end_unsuccessful(result.problem, ArtifactError.exit_code)


def _runtime_json(result: RuntimeComparison) -> dict[str, Any]:
    return {
        "model": str(result.folder),
        "runtime": result.runtime,
        "version": result.version,
        "reference": result.reference,
        "requests": [{**dataclasses.asdict(request), "ok": request.ok} for request in result.requests],
        "ok": result.problem is None,
    }


def _runtime_lines(result: RuntimeComparison) -> list[str]:
    width = max(len(request.name) for request in result.requests)
    lines = [
        f"model     {result.folder}",
        f"runtime   {result.runtime} {result.version}",
        f"reference {result.reference}",
        "",
    ]
    lines.append(f"  {'request':<{width}}  {'positions':>9}  {'logits off':>10}  reply")
    for request in result.requests:
        same = "the same" if request.first_difference is None else f"differs at token {request.first_difference + 1}"
        lines.append(
            f"{'  ' if request.ok else '! '}{request.name:<{width}}  {request.num_positions:>9,}  "
            f"{request.deviation:>7.0e} sd  {request.num_tokens} tokens, {same}"
        )
    return lines


def _json(result: Verification) -> dict[str, Any]:
    compared = None if result.compared is None else [_tensor_json(tensor) for tensor in result.compared]
    return {
        "model": str(result.folder),
        "files": result.num_files,
        "bytes": result.num_bytes,
        "changed": list(result.changed),
        "reference": result.reference,
        "tensors": compared,
        "below_floor": len(result.lost),
        "ok": result.ok,
    }


def _tensor_json(tensor: TensorComparison) -> dict[str, Any]:
    """JSON has no infinity: `exact` says that nothing was lost, and decibels that are no finite number are null."""
    facts = dataclasses.asdict(tensor)
    for key in ("sqnr_db", "floor_db"):
        facts[key] = facts[key] if math.isfinite(facts[key]) else None
    return {**facts, "exact": tensor.sqnr_db == math.inf}


def _lines(result: Verification) -> list[str]:
    files = f"{result.num_files:,}, {human_bytes(result.num_bytes)}"
    lines = [f"model     {result.folder}"]
    if result.changed:
        lines.append(f"files     {files}; content differs from the manifest in {len(result.changed):,}:")
        lines += [f"          {name}" for name in result.changed]
    else:
        lines.append(f"files     {files}; all as the manifest says")
    if result.reference is not None:
        lines += [f"reference {result.reference}", *_comparison_lines(result)]
    return lines


def _comparison_lines(result: Verification) -> list[str]:
    if result.compared is None:
        return ["tensors   not compared, because files differ"]
    exact = sum(tensor.sqnr_db == math.inf for tensor in result.compared)
    listed = result.compared[: max(_MOST_ROWS, len(result.lost))]
    width = max((len(tensor.name) for tensor in listed), default=0)
    rows = [
        f"{'! ' if not tensor.ok else '  '}{tensor.name:<{width}}  {tensor.format:<17} {tensor.sqnr_db:>7.1f} "
        f"{tensor.floor_db:>7.1f}".rstrip()
        for tensor in listed
    ]
    return [
        f"tensors   {len(result.compared):,} compared, {exact:,} exact, {len(result.lost):,} below their floor",
        "",
        f"  {'the worst':<{width}}  {'stored as':<17} {'SQNR dB':>7} {'floor':>7}",
        *rows,
    ]
