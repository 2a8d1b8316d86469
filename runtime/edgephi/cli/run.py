"""`edgephi run`: one request, answered on stdout as it is generated."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
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
from edgephi.cli.report import reply_json, shown, timing_line
from edgephi.errors import ConfigError, EdgeError

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
    from edgephi.manifest import GenerationDefaults

    if request.prompt == "-":
        request = replace(request, prompt=_stdin_text())
    if not (request.prompt or request.images or request.audio):
        raise click.UsageError("nothing to answer: give a PROMPT, an --image or an --audio")
    request.check_files()
    sampling.options(GenerationDefaults())  # what is out of range is so for every model
    with source.load(with_adapters=request.needs_adapter) as model:
        options = sampling.options(model.manifest.generation)
        events = model.stream(
            request.messages(),
            images=request.images,
            audio=request.audio,
            options=options,
            adapter=request.adapter,
        )
        reply = _follow(events, quiet=as_json)
    if as_json:
        click.echo(json.dumps(reply_json(reply), ensure_ascii=False))
        return
    click.echo()
    if reply.finish_reason == "length":
        full = reply.timing.new_tokens < options.max_new_tokens
        reason = "the model's context is full" if full else "raise --max-new-tokens for more"
        click.echo(f"note: the reply was cut; {reason}", err=True)
    click.echo(timing_line(reply.timing), err=True)


def _follow(events: Iterator[Event], *, quiet: bool) -> Reply:
    """Write text as it comes; the finished reply."""
    from edgephi.reply import DoneEvent, TextEvent

    for event in events:
        if isinstance(event, TextEvent) and not quiet:
            click.echo(shown(event.text), nl=False)
        elif isinstance(event, DoneEvent):
            return event.reply
    raise EdgeError("the generation ended without a reply")


def _stdin_text() -> str:
    if sys.stdin is None:
        raise click.UsageError("stdin is closed; give the PROMPT as text instead of `-`")
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the prompt on stdin is not UTF-8 at byte {error.start:,}; convert it") from None
    return text.replace("\r\n", "\n").removesuffix("\n")
