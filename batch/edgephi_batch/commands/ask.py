"""`edgephi batch ask`: one request for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.options import ModelSource, detail_option, max_crops_option, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.sampling_options import Sampling, sampling_options
from edgephi_batch.commands.options import BatchOptions, batch_options

if TYPE_CHECKING:
    from edgephi.images.detail import Detail


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """What is asked, as given on the command line."""

    prompt: str
    system: str | None
    max_crops: int | None
    detail: Detail


def _prompt_options(command: Command) -> Command:
    options = in_group(
        "Prompt",
        [
            click.option(
                "--prompt", metavar="TEXT", default="", help="Asked of items that have no prompt of their own."
            ),
            click.option("--system", metavar="TEXT", help='Text of the system turn, such as "Answer in French."'),
            max_crops_option,
            detail_option,
        ],
    )
    return packed(command, PromptOptions, "asked", options)


@click.command(cls=ModelCommand)
@model_options
@click.argument("input_place", metavar="INPUT")
@_prompt_options
@sampling_options
@batch_options
def ask(source: ModelSource, input_place: str, asked: PromptOptions, sampling: Sampling, options: BatchOptions) -> None:
    """Ask the model about every item of INPUT: images, audio, text or conversations.

    INPUT is a folder, a .jsonl or a .parquet file; see `edgephi batch --help`. --threads are those of each worker.

    \b
    A row: id, error (null or a line), elapsed_s, text, finish_reason, tool_calls, adapter, prompt_tokens, new_tokens
    JSON: {results, items, failed, new (rows of this run), elapsed_s, engine,
           workers: {workers, threads, worker_bytes} or null where nothing was left to do}

    \b
    Examples:
      edgephi batch ask phi4mm photos --prompt "What is this?" -o answers
      edgephi batch ask phi4mm questions.jsonl -o answers --max-new-tokens 64
      edgephi batch ask phi4mm docvqa -o answers --column prompt=question --column images=image
    """
    from edgephi_batch.commands.running import BatchCommand, worker_model
    from edgephi_batch.reading.columns import ItemReader
    from edgephi_batch.reading.corpus import read_corpus
    from edgephi_batch.work.ask import AskWork

    sampling.check()
    items = read_corpus(input_place, ItemReader(columns=options.columns, needs_audio=False))
    has_media = any(item.images or item.audio for item in items)
    if not asked.prompt and any(not (item.prompt or item.messages or item.images or item.audio) for item in items):
        raise click.UsageError("an item has nothing to answer; give a --prompt, or a prompt in each row")
    work = AskWork(
        model=worker_model(source, with_adapters=has_media),
        prompt=asked.prompt,
        system=asked.system,
        sampling=sampling.options(),
        max_crops=asked.max_crops,
        detail=asked.detail,
    )
    BatchCommand(name="ask", work=work, items=items, source=source, options=options).run()
