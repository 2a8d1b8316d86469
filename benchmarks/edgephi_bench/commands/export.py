"""`edgephi bench export`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import EdgeError
from edgephi.console.commands import GroupedCommand, group
from edgephi.console.failures import end_unsuccessful
from edgephi.console.options import json_option
from edgephi.console.packing import decorated_with
from edgephi.console.report import printable
from edgephi.console.signals import stoppable
from edgephi_bench.conversion.converters import GENAI, GENAI_TUNING, Converter, EdgephiExport, GenaiBuilder

if TYPE_CHECKING:
    from edgephi_bench.conversion.run import ConversionPlan, Measurement

#: Options of `edgephi export`, which checks their values.
_PASSED_ON = {
    "--recipe": "How weights are stored",
    "--method": "How codes are chosen",
    "--override": "PATTERN=FORMAT for some linears; may be repeated",
    "--layout": "Whom the folder is for",
    "--adapters": "Routed, merged or left out",
    "--modalities": "What the folder takes besides text",
    "--kv-cache": "Whether graphs with an int8 cache are written",
    "--calibration": "A file to calibrate that cache with; may be repeated",
    "--threads": "Workers",
}
_PASSED_KEY = "edgephi_bench.passed_on"


def _pass_on(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
    """Gather the option as it would be given to `edgephi export`."""
    gathered = ctx.meta.setdefault(_PASSED_KEY, [])
    for value in values:
        gathered += [param.opts[0], value]


def _export_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that are passed on."""
    options = (
        click.option(
            name,
            multiple=True,
            expose_value=False,
            callback=_pass_on,
            metavar="VALUE",
            help=f"{words}: as of `edgephi export`.",
        )
        for name, words in _PASSED_ON.items()
    )
    return group("Conversion", *options)(command)


_measure_options = decorated_with(
    group(
        "Repetition",
        click.option(
            "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Conversions to measure."
        ),
    ),
    group(
        "Peer",
        click.option("--peers", type=click.Choice([GENAI]), multiple=True, help="Measure this converter as well."),
        click.option(
            "--genai-python", metavar="PYTHON", help=f"Interpreter that has {GENAI}.  [default: the present one]"
        ),
        click.option(
            "--genai-options",
            metavar="OPTIONS",
            default=" ".join(GENAI_TUNING),
            show_default=True,
            help="--extra_options of onnxruntime-genai's builder.",
        ),
    ),
    group(
        "Output",
        click.option(
            "--work",
            type=click.Path(path_type=Path),
            default=Path(),
            help="Where outputs are written.  [default: here]",
        ),
        click.option("--keep", is_flag=True, help="Keep the outputs."),
    ),
)


@click.command(cls=GroupedCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@_export_options
@_measure_options
@json_option
@click.pass_context
def export(  # noqa: PLR0913, PLR0917 - click passes one argument per option
    ctx: click.Context,
    checkpoint: Path,
    runs: int,
    work: Path,
    keep: bool,
    peers: tuple[str, ...],
    genai_python: str | None,
    genai_options: str,
    as_json: bool,
) -> None:
    """Measure `edgephi export` of CHECKPOINT: time, peak memory, bytes.

    Every conversion is a process of its own; its memory is its largest resident size, as GNU `time -v` reports it.

    \b
    Examples:
      edgephi bench export mini --recipe int4 --runs 3
      edgephi bench export mini --method rtn --override 'layers.*.mlp.*=int8:32' --threads 2
      edgephi bench export phi4mm --adapters speech --modalities text,speech --work /tmp --keep
      edgephi bench export mini --kv-cache int8 --calibration manual.txt
      edgephi bench export mini --layout genai --peers onnxruntime-genai --genai-python ~/genai/bin/python --json
      edgephi bench export mini --peers onnxruntime-genai --genai-options 'block_size=32'
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.conversion.run import ConversionPlan  # noqa: PLC0415 - keeps --help fast

    plan = ConversionPlan(checkpoint=checkpoint, runs=runs, work=work, keep=keep)
    converters: list[Converter] = [EdgephiExport(options=tuple(ctx.meta.get(_PASSED_KEY, ())))]
    if peers:
        converters.append(GenaiBuilder(python=genai_python or sys.executable, tuning=tuple(genai_options.split())))
    _measure_and_show(plan, converters, as_json)


def _measure_and_show(plan: ConversionPlan, converters: list[Converter], as_json: bool) -> None:
    from edgephi_bench.conversion.report import ConversionReport, print_report, report_json  # noqa: PLC0415
    from edgephi_bench.conversion.run import checkpoint_bytes  # noqa: PLC0415 - keeps --help fast
    from edgephi_bench.measure.environment import read_environment  # noqa: PLC0415

    size = checkpoint_bytes(plan.checkpoint)
    with stoppable():
        measurements = tuple(_measurements(plan, converters))
    report = ConversionReport(
        checkpoint=plan.checkpoint,
        checkpoint_bytes=size,
        runs=plan.runs,
        measurements=measurements,
        environment=read_environment(("edgephi", *sys.argv[1:])),
    )
    if as_json:
        click.echo(json.dumps(report_json(report)))
    else:
        print_report(report)
    for measurement in measurements:
        if measurement.error:  # what was measured is shown all the same
            end_unsuccessful(f"{measurement.name} was not measured: {measurement.error}")


def _measurements(plan: ConversionPlan, converters: list[Converter]) -> Iterator[Measurement]:
    """The first converter must succeed; of the others, a failure is reported beside the results.

    Raises:
        EdgeError: The first one failed; the message is its own.
    """
    from edgephi_bench.conversion.run import measure_conversion  # noqa: PLC0415 - keeps --help fast

    def on_line(line: str) -> None:
        click.echo(printable(line), err=True)

    for converter in converters[1:]:  # known before the first conversion, which may take minutes
        try:
            converter.version()
        except EdgeError:
            on_line(f"{converter.name} is missing and will not be measured")
    for number, converter in enumerate(converters):
        measurement = measure_conversion(converter, plan, on_line)
        if measurement.error and number == 0:
            raise EdgeError(f"{measurement.name}: {measurement.error}")
        yield measurement
