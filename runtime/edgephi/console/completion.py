"""The completions that a shell offers for an argument: files or folders."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Any file."""
    return [CompletionItem(incomplete, type="file")]


def complete_folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Any folder."""
    return [CompletionItem(incomplete, type="dir")]
