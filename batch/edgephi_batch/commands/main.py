"""`edgephi batch`: finds its subcommands."""

from __future__ import annotations

import click

from edgephi.console.commands import LateGroup


class BatchGroup(LateGroup):
    """Subcommands by name, in modules that are imported late."""

    modules = {"ask": "edgephi_batch.commands.ask", "transcribe": "edgephi_batch.commands.transcribe"}  # noqa: RUF012


@click.group(cls=BatchGroup, context_settings={"help_option_names": ["-h", "--help"]})
def batch() -> None:
    """Transcribe or ask about a whole corpus, on this machine or on a Ray cluster.

    \b
    INPUT is one of
      a folder        each recording or image in it is an item, its path the id
      FILE.jsonl      an object a line: id, audio, images (paths or URIs), prompt or messages
      FILE.parquet    the same as columns, also a folder of such files; media may be in them as bytes
    all by a path, or by a URI such as s3://bucket/folder.

    The output is a folder whose results.jsonl has one row for each item, in the order of the input: the result, or
    the error of an item that failed. Rows are kept as they come; the same command again goes on where an earlier run
    ended, however it ended. An item that ends its worker, or does not end itself, costs nothing but its own row.

    \b
    edgephi batch transcribe phi4mm recordings -o transcripts
    edgephi batch ask phi4mm photos --prompt "What is this?" -o answers
    """
