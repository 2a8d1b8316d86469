"""The options of `edgephi bench MODEL`: what is measured and how often."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgephi.console.commands import in_group
from edgephi.console.options import kv_cache_option, memory_option
from edgephi.console.packing import packed
from edgephi.ort.device_names import DEVICES, DeviceName

if TYPE_CHECKING:
    from edgephi.bundle.manifest import CacheChoice
    from edgephi_bench.latency.plan import BenchPlan

#: What --quick takes instead of the defaults; what is given as well keeps its value.
_QUICK = {
    "only": "load,requests,prefill,decode,output,repeat",
    "runs": 3,
    "prompt_tokens": "128",
    "new_tokens": "16",
    "depths": "0",
    "audio_s": "3",
    "image": "640x480",
}
_QUICK_REPEATS = 2


delay_option = click.option(
    "--delay",
    "delay_s",
    type=click.FloatRange(min=0, max=600),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Rest before every turn, so that a device can cool.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementOptions:
    """The measurements, as given on the command line."""

    quick: bool
    threads: int | None
    only: str | None
    runs: int
    warmup: int
    delay_s: float
    prompt_tokens: str
    new_tokens: str
    depths: str
    thread_counts: str | None
    audio_s: str
    image: str
    prompts: Path | None
    memory_context: int
    drop_cache: bool
    kv_cache: CacheChoice
    memory_bytes: int | None
    device: DeviceName
    peers: str
    peer_python: tuple[str, ...]
    peer_model: tuple[str, ...]

    def with_quick_values(self, ctx: click.Context) -> MeasurementOptions:
        """With --quick, its values for all that was not given."""
        if not self.quick:
            return self
        given = {name for name in _QUICK if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE}
        values: dict[str, Any] = {name: value for name, value in _QUICK.items() if name not in given}
        return dataclasses.replace(self, **values)

    def plan(self, model: Path) -> BenchPlan:
        """The checked plan.

        Raises:
            ConfigError: A value that cannot be used.
        """
        from edgephi import ModelOptions  # noqa: PLC0415 - keeps --help fast
        from edgephi_bench.engines.peers import parse_peers  # noqa: PLC0415
        from edgephi_bench.latency.own_prompts import read_prompts  # noqa: PLC0415
        from edgephi_bench.latency.plan import (  # noqa: PLC0415
            BenchPlan,
            parse_counts,
            parse_parts,
            parse_seconds,
            parse_sizes,
        )

        threads = ModelOptions(threads=self.threads).device_options.num_threads
        counts = _powers_of_two(threads) if self.thread_counts is None else parse_counts(self.thread_counts, "--sweep")
        return BenchPlan(
            model=model,
            threads=threads,
            parts=parse_parts(self.only),
            runs=self.runs,
            warmup=self.warmup,
            delay_s=self.delay_s,
            prompt_tokens=parse_counts(self.prompt_tokens, "--prompt-tokens"),
            new_tokens=parse_counts(self.new_tokens, "--new-tokens"),
            depths=parse_counts(self.depths, "--depths"),
            thread_counts=counts,
            audio_s=parse_seconds(self.audio_s),
            images=parse_sizes(self.image),
            prompts=read_prompts(self.prompts) if self.prompts else (),
            memory_context=self.memory_context,
            drop_cache=self.drop_cache,
            kv_cache=self.kv_cache,
            memory_bytes=self.memory_bytes,
            device=self.device,
            peers=parse_peers(self.peers, self.peer_python, self.peer_model),
            **({"repeats": _QUICK_REPEATS} if self.quick else {}),
        )


def _powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4 ... and `most` itself."""
    return (*(1 << i for i in range(most.bit_length()) if 1 << i < most), most)


_POSITIVE = click.IntRange(min=1)
_OPTIONS = (
    *in_group(
        "Measurement",
        [
            click.option(
                "--only",
                metavar="PARTS",
                help="Of load, requests, prefill, decode, threads, memory, output, repeat, with commas between.  "
                "[default: all]",
            ),
            click.option(
                "--prompt-tokens",
                metavar="LIST",
                default="512",
                show_default=True,
                help="Of prompts that are read (pp512), with commas between several.",
            ),
            click.option(
                "--new-tokens",
                metavar="LIST",
                default="32",
                show_default=True,
                help="Generated per run (tg32); between n there are n - 1 steps.",
            ),
            click.option(
                "--depths",
                metavar="LIST",
                default="0,1k,4k",
                show_default=True,
                help="Cached tokens before the measured steps; add 16k where time and memory allow. k is a thousand.",
            ),
            click.option(
                "--sweep",
                "thread_counts",
                metavar="LIST",
                help="Numbers of threads to compare.  [default: 1, 2, 4 ...]",
            ),
            click.option(
                "--audio-s", metavar="LIST", default="10", show_default=True, help="Seconds of audio in each request."
            ),
            click.option(
                "--image", metavar="LIST", default="1344x1008", show_default=True, help="Sizes of the images."
            ),
            click.option(
                "--prompts",
                type=click.Path(path_type=Path),
                metavar="FILE.jsonl",
                help='Requests of your own as well, one object a line: {"prompt": ..., "images": [...], '
                '"audio": [...]}.',
            ),
            click.option(
                "--max-context",
                "memory_context",
                type=_POSITIVE,
                default=512,
                show_default=True,
                help="Tokens of the request whose memory is measured.",
            ),
            click.option(
                "--drop-cache",
                is_flag=True,
                help="Allow the model's files to be dropped from the page cache, to load it cold.",
            ),
        ],
    ),
    *in_group(
        "Repetition",
        [
            click.option(
                "--quick",
                is_flag=True,
                help="Fewer runs, shorter prompts and media, no sweep; other options still count.",
            ),
            click.option("--runs", type=_POSITIVE, default=5, show_default=True, help="Counted ones of everything."),
            click.option(
                "--warmup", type=_POSITIVE, default=1, show_default=True, help="Runs before, which do not count."
            ),
            delay_option,
        ],
    ),
    *in_group(
        "Peer",
        [
            click.option(
                "--peers",
                metavar="NAMES",
                default="",
                help="Measure these in turn with edgephi: onnxruntime-genai, llama.cpp, transformers, optimum.",
            ),
            click.option(
                "--peer-python",
                metavar="NAME=PROGRAM",
                multiple=True,
                help="Interpreter of a peer's environment; for llama.cpp its llama-bench.",
            ),
            click.option(
                "--peer-model", metavar="NAME=PATH", multiple=True, help="The model in the peer's own format."
            ),
        ],
    ),
    *in_group(
        "Model",
        [
            click.option(
                "--threads", type=_POSITIVE, help="Of edgephi and of every peer.  [default: edgephi's own choice]"
            ),
            kv_cache_option,
            memory_option,
            click.option(
                "--device",
                type=click.Choice(DEVICES),
                default="cpu",
                show_default=True,
                help="What edgephi runs on. Peers run on the CPU.",
            ),
        ],
    ),
)


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds these options, as one argument `options`."""
    return packed(command, MeasurementOptions, "options", _OPTIONS)
