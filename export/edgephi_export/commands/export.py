"""`edgephi export`: options in, and a summary of the written folder out."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click

from edgephi.base.errors import ConfigError
from edgephi.console.commands import GroupedCommand, group
from edgephi.console.options import json_option, size
from edgephi.console.signals import stoppable
from edgephi_export.commands.display import progress_display
from edgephi_export.options import BESIDE, DEFAULT_RECIPE, Budget, ExportOptions, LayoutName

_FORMATS = (
    "float32, float16, int8:rows, or int2, int4, int8 with a block size and perhaps :symmetric, as in int4:64. "
    "Repeat for more; the last counts."
)


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:  # noqa: ARG001
    """Words separated by commas."""
    return None if value is None else tuple(word.strip() for word in value.split(","))


_SOURCE_OPTIONS = group(
    "Source", click.option("--revision", help="Branch, tag or commit of a Hugging Face id.  [default: main]")
)
_MACHINE_OPTIONS = group(
    "Machine", click.option("--threads", type=click.IntRange(1, 1024), help="Workers.  [default: every core]")
)
_OUTPUT_OPTIONS = group(
    "Output",
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to make."),
    click.option("--force", is_flag=True, help="Replace an existing model folder, once the new one is complete."),
    click.option(
        "--push-ready", is_flag=True, help="Also write a model card, for `hf upload ORG/NAME DIR` as the folder is."
    ),
)
#: How weights are stored.
_RECIPE_OPTIONS = group(
    "Weight",
    click.option(
        "--recipe",
        default=DEFAULT_RECIPE,
        show_default=True,
        metavar="NAME|FILE",
        help="How weights are stored: one of the recipes above, or a recipe file that --budget saved.",
    ),
    click.option(
        "--method",
        metavar="NAME",
        help="How codes are chosen: search tries many scales, rtn rounds to nearest; weighted and gptq go by the "
        "decoder's inputs on calibration examples.  [default: gptq with a folder of examples, else search]",
    ),
    click.option(
        "--absorb/--keep-adapter-exact",
        default=None,
        help="Solve the routed adapters anew on calibration examples, so that each takes in the error of the base's "
        "codes.  [default: so with int4 and int4-fast by gptq, where every adapter has an example]",
    ),
    click.option(
        "--correct-rank",
        type=click.IntRange(min=0),
        metavar="R",
        help="Add a correction of this rank to every decoder linear, solved on calibration examples, for requests that "
        "no adapter is routed to.",
    ),
    click.option(
        "--budget",
        "budget_bytes",
        callback=size,
        metavar="SIZE",
        help="Choose 2, 4 or 8 bits and the blocks of each group of matrices, so that a decoding step without an "
        "adapter reads SIZE at most, such as 1.9GB, and as little as can be is lost on the calibration examples.",
    ),
    click.option(
        "--bits",
        type=click.FloatRange(min=0, min_open=True, max=32),
        metavar="N",
        help="The same with a limit for the mean bits a weight, scales included, such as 4.2.",
    ),
    click.option(
        "--sensitivity",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Keep what was measured for --budget in FILE, for further budgets.  [default: OUTPUT.sensitivity.json]",
    ),
    click.option(
        "--override",
        "overrides",
        multiple=True,
        metavar="PATTERN=FORMAT",
        help=f"Store the linears whose names match the glob PATTERN in FORMAT: {_FORMATS}",
    ),
)
#: Which parts go into the bundle.
_PART_OPTIONS = group(
    "Content",
    click.option(
        "--layout",
        type=click.Choice(get_args(LayoutName)),
        default="edgephi",
        show_default=True,
        help="For another runtime instead of edgephi. genai: onnxruntime-genai 0.18, on the CPU; text only: optimum "
        "for optimum-onnx 0.1, transformersjs for transformers.js 4 in Node and in browsers.",
    ),
    click.option(
        "--adapters",
        type=click.Choice(["routed", "speech", "vision", "none"]),
        help="routed: chosen per request; speech, vision: merged in, for one purpose; none: text only.  "
        "[default: routed where there are any]",
    ),
    click.option(
        "--modalities",
        callback=_words,
        metavar="LIST",
        help="text,vision,speech or fewer.  [default: all there are]",
    ),
    click.option(
        "--max-crops",
        type=click.IntRange(min=1),
        metavar="N",
        help="With --layout genai: cut an image into N tiles at most.  [default: as the checkpoint]",
    ),
    click.option(
        "--merge-adapter",
        is_flag=False,
        flag_value=BESIDE,
        metavar="[DIR]",
        help="Merge a PEFT adapter (LoRA, DoRA) into the base: its folder or Hugging Face id; without DIR, the one in "
        "CHECKPOINT's own folder.",
    ),
)
_PREFILL_OPTIONS = group(
    "Prefill",
    click.option(
        "--prefill",
        type=click.Choice(["int8", "derived"]),
        help="int8: also write a second decoder graph that reads long prompts faster; its weights take a byte each on "
        "disk, and no memory of their own. derived: the graph alone, a few MB; the device derives the weights from the "
        "decoder's into the user's cache, once its prompts are so long that it pays.",
    ),
)
#: What keys and values can be kept in.
_CACHE_OPTIONS = group(
    "KV cache",
    click.option(
        "--kv-cache",
        type=click.Choice(["float", "int8"]),
        default="float",
        show_default=True,
        help="int8: also write graphs that keep keys and values in int8, for `edgephi run --kv-cache int8`. At the "
        "end the model is run on this machine to calibrate them, which takes the memory of running it.",
    ),
    click.option(
        "--calibration",
        multiple=True,
        metavar="PATH",
        help="With --kv-cache int8: also calibrate with this text (UTF-8), image or audio. For what is solved on "
        "examples: a folder of them. Repeat for more; use what the model will be asked.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of an export; the object that --json prints."""

    path: str
    source: str
    revision: str | None
    recipe: str
    recipe_file: str | None
    adapters: str
    modalities: tuple[str, ...]
    bytes: int
    seconds: float
    ends: tuple[str, ...]
    not_applied: tuple[str, ...]
    licence: str | None

    def __str__(self) -> str:
        takes = ", ".join(self.modalities)
        size = f"{self.bytes / 1e6:,.1f} MB in {self.seconds} s"
        ends = f"; replies end at {', '.join(self.ends)}" if self.ends else ""
        licence = f"licence {self.licence}" if self.licence else "the checkpoint states no licence"
        return f"{self.path}: takes {takes}; adapters {self.adapters}; recipe {self.recipe}{ends}; {size}; {licence}"


@click.command(cls=GroupedCommand)
@click.argument("checkpoint")
@_SOURCE_OPTIONS
@_RECIPE_OPTIONS
@_PART_OPTIONS
@_CACHE_OPTIONS
@_PREFILL_OPTIONS
@_MACHINE_OPTIONS
@_OUTPUT_OPTIONS
@json_option
def export(
    checkpoint: str, output: Path, as_json: bool, budget_bytes: int | None, bits: float | None, **options: Any
) -> None:
    """Turn CHECKPOINT into a folder that `edgephi run` understands.

    CHECKPOINT is a local folder or a Hugging Face id: Phi-4-multimodal (original or transformers layout) or Phi-4-mini.
    It is read tensor by tensor, so memory stays small whatever its size.

    \b
    Recipes:
      int4       4 bits, 8 for the head, down_proj, adapters and encoders: the best answers for its size
      int4-fast  4 bits throughout the decoder: the fewest bytes per token
      int2-absorbed  2 bits and a correction of their error, for --adapters speech or vision; needs --calibration
      int8       8 bits throughout
      fp32       as the checkpoint is
      int4-gpu   for GPUs: 4 bits, 8 where int4 has 8, float16 activations; int4-gpu-fp32: float32 activations
      fp16       for GPUs: float16 throughout

    \b
    Examples:
      edgephi export microsoft/Phi-4-multimodal-instruct -o phi4mm
      edgephi export ./Phi-4-multimodal-instruct -o ears --adapters speech --recipe int4-fast
      edgephi export ./Phi-4-mini-instruct -o mini --override 'layers.*.self_attn.*=int8:32'
      edgephi export ./Phi-4-multimodal-instruct -o phi4mm-genai --layout genai --max-crops 12
      edgephi export ./Phi-4-mini-instruct -o mini-web --layout transformersjs --recipe int4-fast
      edgephi export microsoft/Phi-4-mini-instruct -o mini --push-ready
      edgephi export microsoft/Phi-4-mini-instruct -o mine --merge-adapter ./my-lora
      edgephi export ./Phi-4-mini-instruct -o mini --kv-cache int8 --calibration manual.txt
      edgephi export ./Phi-4-mini-instruct -o mini --budget 1.9GB --calibration examples
    """
    from edgephi_export.exporter import export as run_export

    chosen = ExportOptions(budget=_budget(budget_bytes, bits), **options)
    start = time.perf_counter()
    with stoppable(), progress_display(quiet=as_json) as on_progress:
        run_export(checkpoint, output, chosen, on_progress)
    summary = _summary(output, chosen, time.perf_counter() - start)
    if summary.recipe_file is not None:
        click.echo(_described(summary.recipe_file), err=True)
    if summary.not_applied:
        left_out = ", ".join(summary.not_applied)
        click.echo(f"note: generation_config.json also recommends what edgephi does not do: {left_out}", err=True)
    click.echo(json.dumps(dataclasses.asdict(summary)) if as_json else str(summary))


def _budget(step_bytes: int | None, bits: float | None) -> Budget | None:
    if step_bytes is None and bits is None:
        return None
    if step_bytes is not None and bits is not None:
        raise ConfigError("--budget and --bits are two limits for the same; give one of them")
    return Budget(step_bytes=step_bytes, bits=bits)


def _described(recipe_file: str) -> str:
    from edgephi_export.recipe_file import described, read_recipe

    return f"chosen under the budget, saved as {recipe_file} for --recipe:\n{described(read_recipe(recipe_file))}"


def _summary(output: Path, options: ExportOptions, seconds: float) -> Summary:
    from edgephi.bundle.documents import read_documents
    from edgephi_export.layouts.registry import find_layout
    from edgephi_export.recipe_file import recipe_path

    form = find_layout(options.layout)
    described = form.describe(output)
    return Summary(
        path=str(output),
        source=described.source.id,
        revision=described.source.revision,
        recipe=described.recipe.name,
        recipe_file=None if options.budget is None else str(recipe_path(output)),
        adapters=described.adapters.mode,
        modalities=described.modalities,
        bytes=sum(file.bytes for file in described.files) + (output / form.record_name).stat().st_size,
        seconds=round(seconds, 2),
        ends=described.ends,
        not_applied=described.not_applied,
        licence=read_documents(output, (file.path for file in described.files)).licence,
    )
