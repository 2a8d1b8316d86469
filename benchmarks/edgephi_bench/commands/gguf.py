"""`edgephi bench gguf`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgephi.base.atomic_write import check_space
from edgephi.base.errors import ConfigError
from edgephi.base.output_file import check_output_file
from edgephi.console.commands import GroupedCommand, group
from edgephi.console.signals import stoppable
from edgephi_bench.synthetic.sizes import Sizes

if TYPE_CHECKING:
    from edgephi_bench.synthetic.gguf import HeadFormat


@click.command(cls=GroupedCommand)
@group(
    "Model",
    click.option(
        "--layers", type=click.IntRange(min=1, max=1000), default=32, show_default=True, help="Decoder layers."
    ),
    click.option(
        "--head",
        type=click.Choice(["q4_0", "q6_k"]),
        default="q4_0",
        show_default=True,
        help="Embedding and head: q4_0 as all other weights, or q6_k as llama.cpp's own quantizer has it.",
    ),
)
@group(
    "Output",
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to make."),
)
def gguf(output: Path, layers: int, head: str) -> None:
    """Write a Q4_0 GGUF file of Phi-4-mini's shape with random weights, to measure llama.cpp with.

    \b
    Examples:
      edgephi bench gguf -o mini-q4_0.gguf
      edgephi bench gguf -o small.gguf --layers 2 --head q6_k
      edgephi bench mini --peers llama.cpp --peer-model llama.cpp=mini-q4_0.gguf
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.synthetic.gguf import gguf_bytes, write_gguf  # noqa: PLC0415 - keeps --help fast

    if os.path.lexists(output):
        raise ConfigError(f"{output}: already exists; choose another name")
    check_output_file(output, needed_bytes=0)
    sizes, form = Sizes(layers=layers), cast("HeadFormat", head)
    total = gguf_bytes(sizes, form)
    check_space(output, total, what="the file", relief="make a smaller one with --layers")
    with stoppable():
        write_gguf(output, sizes, form)
    shape = f"phi3 with {layers} layer{'s' * (layers > 1)}"
    click.echo(f"{output}: {shape}, Q4_0, head {head}, random weights, {total / 1e6:,.1f} MB")
