"""`edgephi demo`: bundled samples through the model, each answer judged."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import NOT_AS_RECORDED, EdgeError
from edgephi.console.commands import ModelCommand, group
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.program_name import command_line
from edgephi.console.report import one_line, printable, timing_json

if TYPE_CHECKING:
    from edgephi.inspection.sample_run import SampleResult
    from edgephi.inspection.samples import Sample

_INDENT = " " * 9
_TOY_WEIGHTS, _REAL_WEIGHTS = 100_000_000, 5_574_000_000


@click.command(cls=ModelCommand)
@model_options
@group(
    "Sample",
    click.option("--samples", "folder", metavar="DIR", required=True, help="The folder that holds samples.json."),
)
@json_option
def demo(source: ModelSource, folder: str, as_json: bool) -> None:
    """Run the samples of DIR through the model folder MODEL and judge every answer.

    The exit code is 0 if all are right, 5 if an answer is wrong, 1 if a sample could not be answered at all.

    \b
    Example:
      edgephi demo models/nano --samples nano/samples
    """
    from edgephi.inspection.sample_run import run_samples
    from edgephi.inspection.samples import read_samples
    from edgephi.prompt.routing import ROUTES

    samples = read_samples(Path(folder))
    results: list[SampleResult] = []
    with source.load(with_adapters=any(sample.media() for sample in samples)) as model:
        answers = run_samples(model, samples, Path(folder))
        for number, sample in enumerate(samples, start=1):
            if not as_json:
                click.secho(f"[{number}/{len(samples)}] {ROUTES[sample.mode].label}: {sample.title}", bold=True)
                _preview(sample, Path(folder))
            results.append(next(answers))
            if not as_json:
                _show(results[-1])
    if as_json:
        click.echo(json.dumps(_json(results, source.path), ensure_ascii=False))
    else:
        _summarize(results, source.path, Path(folder))
    failed = any(result.reply is None for result in results)
    all_right = all(result.right for result in results)
    click.get_current_context().exit(0 if all_right else EdgeError.exit_code if failed else NOT_AS_RECORDED)


def _json(results: list[SampleResult], model: Path) -> dict[str, Any]:
    return {
        "samples": [_result_json(result) for result in results],
        "right": sum(result.right for result in results),
        "total": len(results),
        "bundle": str(model),
    }


def _result_json(result: SampleResult) -> dict[str, Any]:
    sample, reply = result.sample, result.reply
    return {
        "mode": sample.mode,
        "title": sample.title,
        "prompt": sample.prompt,
        "input": result.given,
        "expected": sample.expected,
        "output": reply.text if reply else None,
        "error": result.error,
        "right": result.right,
        "timing": timing_json(reply.timing) if reply else None,
    }


def _preview(sample: Sample, folder: Path) -> None:
    """The sample's media, as far as a terminal can show them."""
    from edgephi.console.preview import audio_preview, can_preview, image_preview

    if not can_preview():
        return
    columns = shutil.get_terminal_size().columns - len(_INDENT) - 1
    for kind, name in sample.media():
        with suppress(EdgeError):  # reported with the answer
            lines = (
                image_preview(folder / name, columns) if kind == "image" else [audio_preview(folder / name, columns)]
            )
            click.echo("\n".join(_INDENT + line for line in lines))


def _show(result: SampleResult) -> None:
    sample, reply = result.sample, result.reply
    click.echo(f"  in     {one_line(result.given)}")
    if reply is None:
        click.secho(f"  error  {one_line(result.error)}", fg="red")
        return
    click.echo(f"  out    {printable(reply.text)}".replace("\n", f"\n{_INDENT}"))
    verdict = "right" if result.right else f"wrong, expected {sample.expected!r}"
    timing = reply.timing
    rate = f" · {timing.decode_tok_s:,.0f} tokens/s" if timing.decode_tok_s else ""
    colour = "green" if result.right else "red"
    click.secho(f"  {verdict} · first token {timing.ttft_s * 1000:,.0f} ms{rate}", fg=colour)


def _summarize(results: list[SampleResult], model: Path, folder: Path) -> None:
    num_right = sum(result.right for result in results)
    colour = "green" if num_right == len(results) else "red"
    click.secho(f"{num_right} of {len(results)} right", bold=True, fg=colour)
    if (toy := _toy_line(model)) is not None:
        click.echo(toy)
    click.echo(f"The model folder is {model}. Try it:")
    click.echo(f"  {_next_command(model, [result.sample for result in results], folder)}")


def _toy_line(model: Path) -> str | None:
    """For a model far smaller than the real one, that its speed says nothing; None for others."""
    from edgephi.inspection.folder_summary import summarize_folder

    weights = summarize_folder(model).weights.total.num_weights
    if weights > _TOY_WEIGHTS:
        return None
    return (
        f"This model is a toy of {weights / 1e6:.1f} million weights, Phi-4-multimodal has {_REAL_WEIGHTS / 1e6:,.0f} "
        "million:\nits tokens/s say nothing about the real one's, which `edgephi doctor MODEL` estimates."
    )


def _next_command(model: Path, samples: list[Sample], folder: Path) -> str:
    """A command line that repeats the last sample that needs no tools."""
    sample = next((s for s in reversed(samples) if s.tools is None), samples[-1])
    words = ["run", str(model)]
    words += [sample.prompt] if sample.prompt else []
    for kind, name in sample.media():
        words += [f"--{kind}", str(folder / name)]
    return command_line(*words)
