"""`edgephi completion`: what a shell needs to complete commands, options and files."""

from __future__ import annotations

import click

from edgephi.console.program_name import NAME

_VARIABLE = f"_{NAME.upper()}_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete edgephi's commands, options and files.

    \b
    Examples:
      eval "$(edgephi completion bash)"             in ~/.bashrc
      eval "$(edgephi completion zsh)"              in ~/.zshrc
      edgephi completion fish > ~/.config/fish/completions/edgephi.fish
    """
    from click.shell_completion import get_completion_class

    from edgephi.cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    click.echo(kind(main, {}, NAME, _VARIABLE).source())
