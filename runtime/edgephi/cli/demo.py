"""`edgephi demo`: bundled samples through the model, each answer judged."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.errors import NOT_AS_RECORDED, EdgeError
from edgephi.console.commands import ModelCommand, group
from edgephi.console.options import ModelSource, json_option, model_options
from edgephi.console.program_name import command_line
from edgephi.console.report import one_line, printable, timing_json

if TYPE_CHECKING:
    from edgephi.generation.reply import Reply
    from edgephi.inspection.samples import Sample
    from edgephi.model import Model

_MAX_NEW_TOKENS = 128
_INDENT = " " * 9
_TOY_WEIGHTS, _REAL_WEIGHTS = 100_000_000, 5_574_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sample's result. `given` says what went in; `reply` is None when `error` is set."""

    sample: Sample
    given: str
    reply: Reply | None
    error: str | None

    @property
    def right(self) -> bool:
        """Whether the answer is the expected one."""
        return self.reply is not None and self.sample.is_right(self.reply)

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "mode": self.sample.mode,
            "title": self.sample.title,
            "prompt": self.sample.prompt,
            "input": self.given,
            "expected": self.sample.expected,
            "output": self.reply.text if self.reply else None,
            "error": self.error,
            "right": self.right,
            "timing": timing_json(self.reply.timing) if self.reply else None,
        }


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
    from edgephi.inspection.samples import read_samples
    from edgephi.prompt.routing import ROUTES

    samples = read_samples(Path(folder))
    outcomes: list[Outcome] = []
    with source.load(with_adapters=any(map(_media, samples))) as model:
        for number, sample in enumerate(samples, start=1):
            if not as_json:
                click.secho(f"[{number}/{len(samples)}] {ROUTES[sample.mode].label}: {sample.title}", bold=True)
                _preview(sample, Path(folder))
            outcomes.append(_try(model, sample, Path(folder)))
            if not as_json:
                _show(outcomes[-1])
    num_right = sum(outcome.right for outcome in outcomes)
    if as_json:
        facts = {"samples": [o.to_json() for o in outcomes], "right": num_right, "total": len(outcomes)}
        click.echo(json.dumps({**facts, "bundle": str(source.path)}, ensure_ascii=False))
    all_right = num_right == len(outcomes)
    if not as_json:
        click.secho(f"{num_right} of {len(outcomes)} right", bold=True, fg="green" if all_right else "red")
        if (toy := _toy_line(source.path)) is not None:
            click.echo(toy)
        click.echo(f"The model folder is {source.path}. Try it:")
        click.echo(f"  {_try_next(source.path, samples, Path(folder))}")
    failed = any(outcome.reply is None for outcome in outcomes)
    click.get_current_context().exit(0 if all_right else EdgeError.exit_code if failed else NOT_AS_RECORDED)


def _try(model: Model, sample: Sample, folder: Path) -> Outcome:
    from edgephi.generation.sampler import SamplingOptions

    given = repr(sample.prompt) if sample.prompt else "(no text)"
    try:
        media = [_describe(folder / name, kind) for kind, name in _media(sample)]
        given = " + ".join([*media, given])
        reply = model.generate(
            sample.messages(),
            images=[folder / sample.image] if sample.image else [],
            audio=[folder / sample.audio] if sample.audio else [],
            options=SamplingOptions.greedy(max_new_tokens=_MAX_NEW_TOKENS),
        )
    except EdgeError as error:
        return Outcome(sample, given, None, str(error))
    return Outcome(sample, given, reply, None)


def _media(sample: Sample) -> list[tuple[str, str]]:
    pairs = (("image", sample.image), ("audio", sample.audio))
    return [(kind, name) for kind, name in pairs if name is not None]


def _preview(sample: Sample, folder: Path) -> None:
    """What goes in, as far as a terminal can show it."""
    from edgephi.console.preview import can_preview, image_preview, sound_preview

    if not can_preview():
        return
    columns = shutil.get_terminal_size().columns - len(_INDENT) - 1
    for kind, name in _media(sample):
        with suppress(EdgeError):  # said with the answer
            lines = (
                image_preview(folder / name, columns) if kind == "image" else [sound_preview(folder / name, columns)]
            )
            click.echo("\n".join(_INDENT + line for line in lines))


def _toy_line(model: Path) -> str | None:
    """For a model far smaller than the real one, that its speed says nothing; None for others."""
    from edgephi.bundle.bundle import Bundle
    from edgephi.inspection.weights_summary import components, overall

    bundle = Bundle(model)
    parts = components(bundle.tensor_index(), bundle.manifest.decoder.embedding.values)
    weights = overall(parts).num_weights
    if weights > _TOY_WEIGHTS:
        return None
    return (
        f"This model is a toy of {weights / 1e6:.1f} million weights, Phi-4-multimodal has {_REAL_WEIGHTS / 1e6:,.0f} "
        "million:\nits tokens/s say nothing about the real one's, which `edgephi doctor MODEL` estimates."
    )


def _describe(path: Path, kind: str) -> str:
    """`nano/samples/sign.png 320x168` or `nano/samples/kitchen.wav 1.8 s`."""
    if kind == "image":
        from edgephi.images.decoding import load_image

        width, height = load_image(path).size
        return f"{path} {width}x{height}"
    from edgephi.audio.decoding import load_audio

    return f"{path} {load_audio(path).duration_s:.1f} s"


def _show(outcome: Outcome) -> None:
    sample, reply = outcome.sample, outcome.reply
    click.echo(f"  in     {one_line(outcome.given)}")
    if reply is None:
        click.secho(f"  error  {one_line(outcome.error)}", fg="red")
        return
    click.echo(f"  out    {printable(reply.text)}".replace("\n", f"\n{'':9}"))
    verdict = "right" if outcome.right else f"wrong, expected {sample.expected!r}"
    timing = reply.timing
    rate = f" · {timing.decode_tok_s:,.0f} tokens/s" if timing.decode_tok_s else ""
    colour = "green" if outcome.right else "red"
    click.secho(f"  {verdict} · first token {timing.ttft_s * 1000:,.0f} ms{rate}", fg=colour)


def _try_next(model: Path, samples: tuple[Sample, ...], folder: Path) -> str:
    """A command line that repeats the last sample that needs no tools."""
    sample = next((s for s in reversed(samples) if s.tools is None), samples[-1])
    words = ["run", str(model)]
    words += [sample.prompt] if sample.prompt else []
    for kind, name in _media(sample):
        words += [f"--{kind}", str(folder / name)]
    return command_line(*words)
