"""`edgephi verify`: whether a model folder is whole, and close to the checkpoint it was made from."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import ArtifactError, EdgeError
from edgephi.base.units import human_bytes
from edgephi.console.commands import MODEL_VARIABLE, GroupedCommand, group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option
from edgephi.console.progress import progress_bar

if TYPE_CHECKING:
    from edgephi.bundle.bundle import Bundle
    from edgephi.inspection.comparison import Compare, TensorComparison

PLUGIN_GROUP = "edgephi.plugins"
_COMPARE = "compare"
_SHOWN = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        changed: Files whose sha256 is not the manifest's.
        compared: Every tensor beside its source, the worst first; None without a reference.
    """

    changed: tuple[str, ...]
    compared: tuple[TensorComparison, ...] | None

    @property
    def lost(self) -> tuple[TensorComparison, ...]:
        """Tensors further from their source than their format explains."""
        return tuple(tensor for tensor in self.compared or () if not tensor.ok)


@click.command(cls=GroupedCommand)
@click.argument("model", envvar=MODEL_VARIABLE)
@group(
    "Comparison",
    click.option("--reference", metavar="CHECKPOINT", help="Also compare every tensor with this checkpoint."),
)
@json_option
def verify(model: str, reference: str | None, as_json: bool) -> None:
    """Read every file of the model folder MODEL and compare its sha256 with the manifest.

    With --reference, a local folder or Hugging Face id, the manifest and every stored tensor are also compared with
    their source; that needs the packages of `edgephi export`. The exit code is 3 if anything is off.

    \b
    Examples:
      edgephi verify phi4mm
      edgephi verify phi4mm --reference microsoft/Phi-4-multimodal-instruct
    """
    from edgephi.bundle.bundle import Bundle

    compare = _find_compare() if reference is not None else None
    bundle = Bundle(model)
    bundle.tensor_index()
    changed = _changed(bundle)
    compared = None
    if compare is not None and reference is not None and not changed:
        with progress_bar("comparing") as on_progress:
            compared = _worst_first(compare(bundle.path, reference, on_progress).tensors)
    verdict = Verdict(changed=changed, compared=compared)
    if as_json:
        click.echo(json.dumps(_json(bundle, reference, verdict), ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(bundle, reference, verdict)))
    _end_if_off(bundle, verdict)


def _changed(bundle: Bundle) -> tuple[str, ...]:
    total, done = _total_bytes(bundle), 0

    def on_read(count: int) -> None:
        nonlocal done
        done += count
        show(done, total)

    with progress_bar("reading") as show:
        return tuple(info.path for info in bundle.changed_files(on_read))


def _find_compare() -> Compare:
    """The host package's function.

    Raises:
        EdgeError: It is not installed. The message is the pip command.
    """
    from importlib.metadata import entry_points

    points = entry_points(group=PLUGIN_GROUP, name=_COMPARE)
    why = "they are not installed"
    for point in points:
        try:
            found: Compare = point.load()
        except ImportError as error:
            why = str(error)
        else:
            return found
    raise EdgeError(f'comparing with a checkpoint needs more packages ({why}); run: pip install "edgephi[export]"')


def _worst_first(tensors: tuple[TensorComparison, ...]) -> tuple[TensorComparison, ...]:
    """Those below their floor, then all others; each by rising decibels, where not a number is the least."""

    def rank(tensor: TensorComparison) -> tuple[bool, float, str]:
        return tensor.ok, -math.inf if math.isnan(tensor.sqnr_db) else tensor.sqnr_db, tensor.name

    return tuple(sorted(tensors, key=rank))


def _end_if_off(bundle: Bundle, verdict: Verdict) -> None:
    if verdict.changed:
        more = len(verdict.changed) - 1
        also = f", and so do {more:,} more" if more else ""
        end_unsuccessful(
            f"{bundle.file(verdict.changed[0])}: content differs from the manifest{also}; "
            "copy or export the model again",
            ArtifactError.exit_code,
        )
    if verdict.lost:
        end_unsuccessful(
            f"{bundle.path}: {len(verdict.lost):,} of {len(verdict.compared or ()):,} tensors are further from the "
            "checkpoint than their format explains; export the model again",
            ArtifactError.exit_code,
        )


def _total_bytes(bundle: Bundle) -> int:
    return sum(info.bytes for info in bundle.manifest.files)


def _json(bundle: Bundle, reference: str | None, verdict: Verdict) -> dict[str, Any]:
    compared = None if verdict.compared is None else [_tensor_json(tensor) for tensor in verdict.compared]
    return {
        "model": str(bundle.path),
        "files": len(bundle.manifest.files),
        "bytes": _total_bytes(bundle),
        "changed": list(verdict.changed),
        "reference": reference,
        "tensors": compared,
        "below_floor": len(verdict.lost),
        "ok": not (verdict.changed or verdict.lost),
    }


def _tensor_json(tensor: TensorComparison) -> dict[str, Any]:
    """JSON has no infinity: `exact` says that nothing was lost, and decibels that are no finite number are null."""
    facts = dataclasses.asdict(tensor)
    for key in ("sqnr_db", "floor_db"):
        facts[key] = facts[key] if math.isfinite(facts[key]) else None
    return {**facts, "exact": tensor.sqnr_db == math.inf}


def _lines(bundle: Bundle, reference: str | None, verdict: Verdict) -> list[str]:
    count, size = len(bundle.manifest.files), human_bytes(_total_bytes(bundle))
    lines = [f"model     {bundle.path}"]
    if verdict.changed:
        lines.append(f"files     {count:,}, {size}; content differs from the manifest in {len(verdict.changed):,}:")
        lines += [f"          {name}" for name in verdict.changed]
    else:
        lines.append(f"files     {count:,}, {size}; all as the manifest says")
    if reference is not None:
        lines.append(f"reference {reference}")
        lines += _compared_lines(verdict)
    return lines


def _compared_lines(verdict: Verdict) -> list[str]:
    if verdict.compared is None:
        return ["tensors   not compared, because files differ"]
    exact = sum(tensor.sqnr_db == math.inf for tensor in verdict.compared)
    shown = verdict.compared[: max(_SHOWN, len(verdict.lost))]
    width = max((len(tensor.name) for tensor in shown), default=0)
    rows = [
        f"{'! ' if not tensor.ok else '  '}{tensor.name:<{width}}  {tensor.format:<17} {tensor.sqnr_db:>7.1f} "
        f"{tensor.floor_db:>7.1f}".rstrip()
        for tensor in shown
    ]
    return [
        f"tensors   {len(verdict.compared):,} compared, {exact:,} exact, {len(verdict.lost):,} below their floor",
        "",
        f"  {'the worst':<{width}}  {'stored as':<17} {'SQNR dB':>7} {'floor':>7}",
        *rows,
    ]
