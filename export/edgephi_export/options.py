"""The options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # it would load numpy, and `edgephi --help` reads this file
    from edgephi.bundle.manifest import CacheKind

DEFAULT_RECIPE = "int4"
#: As `merge_adapter`: the adapter lies in the checkpoint's own folder.
BESIDE = "beside"
LayoutName = Literal["edgephi", "genai", "optimum", "transformersjs"]
PrefillKind = Literal["int8", "derived"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that the decoder's matrices and head may take; exactly one of both.

    Attributes:
        step_bytes: Bytes of weights that a decoding step without an adapter reads, all of the decoder counted.
        bits: Mean bits a weight of the matrices and the head, scales included, as a step reads them.

    Raises:
        ValueError: Both are given, or none.
    """

    step_bytes: int | None = None
    bits: float | None = None

    def __post_init__(self) -> None:
        if (self.step_bytes is None) == (self.bits is None):
            raise ValueError("a budget is either bytes of a step or bits a weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The choices for an export besides its input and output.

    Attributes:
        recipe: How weights are stored: `fp32`, `int8`, `int4`, `int4-fast`, `int2-absorbed`, `fp16`, `int4-gpu` or
            `int4-gpu-fp32`, or the path of a recipe file.
        method: How codes are chosen: `search`, `rtn`, `weighted` or `gptq`; None for the recipe's own way, or `gptq`
            where `calibration` has a folder of examples and the recipe is for the CPU. The last two choose the
            decoder's by its inputs on calibration examples.
        absorb: Solve the routed adapters anew on calibration examples, so that each takes in the error of the base's
            codes; they are no longer the checkpoint's own. None for the recipe's own way: True for `int4` and
            `int4-fast` where every routed adapter has an example and the method is `gptq`; else False but for a recipe
            file that says otherwise.
        correct_rank: Rank of a correction of that error on every decoder linear, for requests that no adapter is
            routed to; 0 for none, which with `int2-absorbed` is the rank of the adapter that is merged. None for the
            recipe's own way: none but for a recipe file that has one.
        budget: Formats of the decoder's matrices and head are chosen by what each loses on calibration examples, under
            this limit; None for the recipe's own.
        sensitivity: The file that keeps what was measured for a budget, read where it is there; None for
            `OUTPUT.sensitivity.json` beside the folder.
        overrides: Rules `PATTERN=FORMAT` that count more than the recipe's, the last one most; a pattern is a glob
            over the canonical names of linears.
        adapters: `routed`, `speech`, `vision` or `none`; None is routed where the model has adapters.
        modalities: `text` and the encoders to include; None is all that the adapters allow.
        merge_adapter: A PEFT adapter, merged into the base's weights: its folder, its Hugging Face id, or `beside` for
            the one in the checkpoint's own folder; None for none.
        kv_cache: `int8` adds graphs that keep keys and values in int8; the folder then runs either way. To calibrate
            them the model is run on this machine when everything else is written.
        prefill: `int8` adds a second decoder graph that reads long prompts faster, over a second set of weights of a
            byte each. `derived` adds the graph alone: a device derives the weights from the decoder's, once its prompts
            are so long that it pays. None for none.
        calibration: For an int8 cache, the user's own texts, images and audio, read beside those that come with
            edgephi. For what is solved on examples, folders of them.
        layout: `edgephi`, or the runtime of a folder for another one: `genai` for onnxruntime-genai; text only:
            `optimum` for optimum-onnx, `transformersjs` for transformers.js.
        max_crops: For `genai`, the tiles that an image is cut into, at most; None for as many as the checkpoint says.
        force: Replace an existing model folder, at the end.
        threads: Workers; None takes every core this process may use. The files do not depend on it.
        revision: Branch, tag or commit of a Hugging Face id; None for its main branch.
        push_ready: Also write a model card, so that the folder can be uploaded to the Hugging Face hub as it is.
    """

    recipe: str = DEFAULT_RECIPE
    method: str | None = None
    overrides: tuple[str, ...] = ()
    absorb: bool | None = None
    correct_rank: int | None = None
    budget: Budget | None = None
    sensitivity: str | Path | None = None
    adapters: str | None = None
    modalities: tuple[str, ...] | None = None
    merge_adapter: str | Path | None = None
    kv_cache: CacheKind = "float"
    prefill: PrefillKind | None = None
    calibration: tuple[str | Path, ...] = ()
    layout: LayoutName = "edgephi"
    max_crops: int | None = None
    force: bool = False
    threads: int | None = None
    revision: str | None = None
    push_ready: bool = False
