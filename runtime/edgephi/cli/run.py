"""`edgephi run`: one request, answered on stdout as it is generated."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edgephi.base.errors import ConfigError
from edgephi.console import interruption
from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.ending import say
from edgephi.console.options import ModelSource, Output, RequestSource, model_options, output_options, request_options
from edgephi.console.packing import decorated_with
from edgephi.console.progress import ProgressLine
from edgephi.console.report import note_line, reply_json, shown, timing_line
from edgephi.console.sampling_options import Sampling, sampling_options
from edgephi.console.spool import check_stdin, spooled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgephi.generation.reply import Choice, Event, Reply


_run_options = decorated_with(
    *in_group(
        "Prompt",
        [
            click.option(
                "--cache-prompt",
                metavar="FILE",
                help="Start from what FILE keeps of a prompt that begins alike; without FILE, read this prompt and "
                "write it.",
            )
        ],
    ),
    *in_group(
        "Output",
        [
            click.option(
                "--logprobs",
                type=int,
                metavar="N",
                help="With --json: each token's log-probability and the N likeliest, such as 5.",
            )
        ],
    ),
    output_options,
)


@click.command(cls=ModelCommand)
@model_options
@request_options
@sampling_options
@_run_options
def run(
    source: ModelSource,
    request: RequestSource,
    sampling: Sampling,
    logprobs: int | None,
    cache_prompt: str | None,
    output: Output,
) -> None:
    """Answer PROMPT with the model folder MODEL; `-` reads the prompt, an image or audio from stdin.

    Images and audio go before the prompt, or where `<|image_1|>` and `<|audio_1|>` stand in it.

    \b
    Examples:
      edgephi run phi4mm "Why is the sky blue?"
      edgephi run phi4mm "What does the sign say?" --image sign.png
      edgephi run phi4mm --image chart.png --audio question.wav
      edgephi run phi4mm "A poem on rain" --temperature 0.8 --top-p 0.95 --seed 7
      edgephi run phi4mm "Is this spam: ..." --regex "yes|no"
      edgephi run phi4mm "Read the bill" --image bill.jpg --json-schema bill.schema.json
      edgephi run phi4mm "List three rivers" --stop "4." --repetition-penalty 1.1
      edgephi run phi4mm "Turn on the lamp" --tools home.json
      edgephi run phi4mm "Hello" --system "You are..." --cache-prompt system.cache
      edgephi run phi4mm "Yes or no?" --max-new-tokens 1 --logprobs 5 --json
      edgephi run phi4mm - --max-context 8192 --chunk 512 < report.txt
    """
    check_stdin([*request.images, *request.audio], request.prompt)
    if request.prompt == "-":
        request = replace(request, prompt=_stdin_text())
    if not (request.prompt or request.images or request.audio):
        raise click.UsageError("nothing to answer: give a PROMPT, an --image or an --audio")
    if logprobs is not None and not output.as_json:
        raise click.UsageError("--logprobs are part of the --json output; give both")
    request = _without_pipes(request)
    request.check_files()
    prompt, notes = request.build(), request.notes()
    if not output.quiet:
        for note in notes:
            say(note_line(note))
    _check_cache_file(cache_prompt)
    with ProgressLine("loading", quiet=output.quiet) as progress:
        sampling.check(logprobs=logprobs)
        with source.load(with_adapters=request.needs_adapter, on_stage=progress.observe) as model:
            options = replace(sampling.options(), logprobs=logprobs)
            if cache_prompt is not None:
                model.cache_prompt(prompt, cache_prompt)
            with interruption.noted() as should_stop:
                events = model.stream(prompt, options=options, on_stage=progress.observe, should_stop=should_stop)
                reply = _answer(events, progress, silent=output.as_json)
                if reply.finish_reason == "cancelled":
                    _end_early(reply, notes, as_json=output.as_json)
    if output.as_json:
        click.echo(json.dumps(_as_json(reply, notes), ensure_ascii=False))
        return
    click.echo()
    if output.quiet:
        return
    if reply.finish_reason == "length":
        full = reply.timing.new_tokens < options.max_new_tokens
        reason = "the model's context is full" if full else "raise --max-new-tokens for more"
        unmet = "" if options.constraint is None else f", so {options.constraint} may not be met"
        click.echo(f"note: the reply was cut{unmet}; {reason}", err=True)
    click.echo(timing_line(reply), err=True)


def _without_pipes(request: RequestSource) -> RequestSource:
    """With what came through pipes as files, until the command ends."""
    context = click.get_current_context()
    images = context.with_resource(spooled(request.images, "image"))
    audio = context.with_resource(spooled(request.audio, "audio"))
    return replace(request, images=tuple(images), audio=tuple(audio))


def _check_cache_file(path: str | None) -> None:
    """Report what --cache-prompt could not write, before a model is loaded."""
    from edgephi.base.output_file import check_output_file

    if path is not None and not os.path.exists(path):
        check_output_file(Path(path))


def _as_json(reply: Reply, notes: list[str]) -> dict[str, Any]:
    return reply_json(reply) | {"notes": notes} | _logprobs_json(reply.logprobs)


def _logprobs_json(choices: tuple[Choice, ...]) -> dict[str, Any]:
    """`logprobs` as they go beside the rest of the reply; nothing when they were not asked for."""
    if not choices:
        return {}
    return {
        "logprobs": [
            {
                "token_id": choice.token_id,
                "logprob": choice.logprob,
                "top": [{"token_id": token_id, "logprob": logprob} for token_id, logprob in choice.top],
            }
            for choice in choices
        ]
    }


def _end_early(reply: Reply, notes: list[str], *, as_json: bool) -> NoReturn:
    """A signal came: give out what is complete and end with its exit code."""
    code = interruption.answered()
    if as_json:
        click.echo(json.dumps(_as_json(reply, notes), ensure_ascii=False))
    elif reply.text:
        click.echo()
    say("interrupted")
    click.get_current_context().exit(code)


def _answer(events: Iterator[Event], progress: ProgressLine, *, silent: bool) -> Reply:
    """Write text as it comes; the finished reply."""
    from edgephi.generation.outcome import reply_of
    from edgephi.generation.reply import TextEvent, ToolCallEvent

    def write(event: Event) -> None:
        progress.clear()
        if isinstance(event, TextEvent | ToolCallEvent) and not silent:
            with interruption.may_stick():
                click.echo(shown(event.text), nl=False)

    return reply_of(events, write)


def _stdin_text() -> str:
    if sys.stdin is None:
        raise click.UsageError("stdin is closed; give the PROMPT as text instead of `-`")
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the prompt on stdin is not UTF-8 at byte {error.start:,}; convert it") from None
    return text.replace("\r\n", "\n").removesuffix("\n")
