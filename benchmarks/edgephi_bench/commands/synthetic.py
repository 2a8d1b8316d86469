"""`edgephi bench synthetic`."""

from __future__ import annotations

from pathlib import Path

import click

from edgephi.console.commands import GroupedCommand, group
from edgephi.console.progress_bar import ProgressBar
from edgephi.console.signals import stoppable
from edgephi_bench.synthetic.sizes import LAYOUTS, Layout, Sizes


@click.command(cls=GroupedCommand)
@click.argument("layout", type=click.Choice(LAYOUTS))
@group(
    "Model",
    click.option("--layers", type=click.IntRange(min=1, max=1000), help="Decoder layers.  [default: 32, as published]"),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another gives other weights."
    ),
)
@group(
    "Output",
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to make."),
    click.option(
        "--force", is_flag=True, help="Replace an existing synthetic checkpoint, once the new one is complete."
    ),
)
def synthetic(layout: Layout, output: Path, layers: int | None, seed: int, force: bool) -> None:
    """Write a checkpoint of the public models' names and shapes, with random weights.

    LAYOUT is phi3 (Phi-4-mini, 7.7 GB), phi4mm (Phi-4-multimodal as published, 11.1 GB) or phi4_multimodal (the same
    as transformers lays it out). Only its sizes mean anything: it serves to measure conversions and loading.

    \b
    Examples:
      edgephi bench synthetic phi3 -o mini
      edgephi bench synthetic phi4mm -o small --layers 2
      edgephi bench synthetic phi4mm -o small --layers 2 --seed 1 --force
    """  # noqa: D301 - click reads the \b
    from edgephi_bench.synthetic.checkpoint import SyntheticOptions, write_synthetic  # noqa: PLC0415 - keeps --help fast

    sizes = Sizes() if layers is None else Sizes(layers=layers)
    options = SyntheticOptions(sizes=sizes, seed=seed, force=force)
    with stoppable(), ProgressBar() as bar:
        total = write_synthetic(output, layout, options, bar.show)
    click.echo(f"{output}: {layout} with {sizes.layers} layers, random weights of seed {seed}, {total / 1e6:,.1f} MB")
