"""`edgephi run`: one request, answered on stdout as it is generated."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from edgephi.cli.options import (
    ModelSource,
    Request,
    Sampling,
    json_option,
    model_options,
    request_options,
    sampling_options,
)
from edgephi.cli.report import printable, reply_json, timing_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgephi.reply import Event, Reply


@click.command()
@model_options
@request_options
@sampling_options
@json_option
def run(source: ModelSource, request: Request, sampling: Sampling, as_json: bool) -> None:
    """Answer PROMPT with the model folder MODEL; `-` reads the prompt from stdin.

    Pictures and clips go before the prompt, or where `<|image_1|>` and `<|audio_1|>` stand in it.

    \b
    Examples:
      edgephi run phi4mm "Why is the sky blue?"
      edgephi run phi4mm "What does the sign say?" --image sign.png
      edgephi run phi4mm --image chart.png --audio question.wav
    """
    if request.prompt == "-":
        request = _with_prompt(request, sys.stdin.read())
    if not (request.prompt or request.images or request.audio):
        raise click.UsageError("nothing to answer: give a PROMPT, an --image or an --audio")
    with source.load() as model:
        events = model.stream(
            request.messages(),
            images=request.images,
            audio=request.audio,
            options=sampling.options(model),
            adapter=request.adapter,
        )
        reply = _follow(events, quiet=as_json)
    if as_json:
        click.echo(json.dumps(reply_json(reply), ensure_ascii=False))
        return
    click.echo()
    if reply.finish_reason == "length":
        click.echo("note: the reply was cut; raise --max-new-tokens for more", err=True)
    click.echo(timing_line(reply.timing), err=True)


def _follow(events: Iterator[Event], *, quiet: bool) -> Reply:
    """Write text as it comes; the finished reply."""
    from edgephi.errors import EdgeError
    from edgephi.reply import DoneEvent, TextEvent

    terminal = sys.stdout.isatty()
    for event in events:
        if isinstance(event, TextEvent) and not quiet:
            click.echo(printable(event.text) if terminal else event.text, nl=False)
        elif isinstance(event, DoneEvent):
            return event.reply
    raise EdgeError("the generation ended without a reply")


def _with_prompt(request: Request, prompt: str) -> Request:
    from dataclasses import replace

    return replace(request, prompt=prompt.removesuffix("\n"))
