"""`edgephi doctor`: the machine, the software, whether a model folder fits, and how fast to expect it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from edgephi.base.units import human_bytes
from edgephi.console.commands import GroupedCommand, group, renamed
from edgephi.console.options import check_hashes_option, json_option, kv_cache_option
from edgephi.console.report import one_line
from edgephi.ort.device_names import DEVICES

if TYPE_CHECKING:
    from edgephi.inspection.diagnosis import Diagnosis, SpeedEstimate
    from edgephi.inspection.machine import Machine
    from edgephi.inspection.software import Software
    from edgephi.ort.vulkan import GpuFacts


@click.command(cls=GroupedCommand, context_settings=renamed(context="max-context"))
@click.argument("model", required=False)
@group(
    "Model",
    click.option(
        "--max-context",
        "context",
        type=click.IntRange(min=1),
        default=4096,
        show_default=True,
        metavar="N",
        help="Tokens that a conversation is to reach.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Measure the memory's bandwidth with so many.  [default: every core]",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="cpu",
        help="Load every graph there, and say which operators of each the CPU would compute.  [default: cpu]",
    ),
)
@kv_cache_option
@check_hashes_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, /, model: str | None, as_json: bool, **asked: Any) -> None:
    """Show what this machine offers and, given the model folder MODEL, whether it fits and how fast to expect it.

    Each problem of the installation or the folder is one line. The exit code is 3 for a damaged
    folder, 4 where the model does not fit, 2 where it was made without int8 keys and values and they were asked for or
    the device is not there, 1 for a broken installation.

    \b
    Examples:
      edgephi doctor
      edgephi doctor phi4mm
      edgephi doctor phi4mm --max-context 16384 --json
      edgephi doctor phi4mm --max-context 16384 --kv-cache int8
      edgephi doctor phi4mm-gpu --device webgpu
    """
    from edgephi.inspection.diagnosis import diagnose

    diagnosis = diagnose(model, **asked)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(diagnosis), ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(diagnosis)))
    ctx.exit(diagnosis.exit_code)


def _lines(diagnosis: Diagnosis) -> list[str]:
    lines = [*_machine(diagnosis.machine), "", *_software(diagnosis.software)]
    if diagnosis.model is not None:
        lines += ["", f"model {one_line(diagnosis.model)}"]
        lines += [_estimate(estimate) for estimate in diagnosis.prospects]
        if any(estimate.fits and estimate.most_tokens_s for estimate in diagnosis.prospects):
            lines.append(
                "  (tokens/s: at most, as if reading memory were all the work; by its slowest and fastest reading)"
            )
        lines += [f"  {one_line(graph.graph)} on {graph.device}: {graph.text}" for graph in diagnosis.assignments]
    for title, texts in (("advice", diagnosis.advice), ("problems", diagnosis.problems)):
        if texts:
            lines += ["", title, *(f"  {one_line(text)}" for text in texts)]
    return lines if diagnosis.problems else [*lines, "", "no problems found"]


def _machine(machine: Machine) -> list[str]:
    limit = machine.memory_limit_bytes
    limited = f", limited to {human_bytes(limit)} here" if limit is not None else ""
    speed, low = machine.read_bandwidth_bytes_s, machine.read_bandwidth_low_bytes_s
    rows = {
        "cpu": machine.cpu,
        "cores": f"{machine.physical_cores:,} for this process ({machine.logical_cpus:,} hardware threads)",
        "kernels": " ".join(machine.instruction_sets) or "none of the instruction sets that matter here",
        "governor": machine.governor or "unknown",
        "memory": f"{human_bytes(machine.memory_bytes)}{limited}, {human_bytes(machine.available_bytes)} available",
        "reads": f"{_range((low or speed) / 1e9, speed / 1e9)} GB/s with {machine.threads:,} threads"
        if speed
        else "not measured",
        "disk": f"{human_bytes(machine.disk_free_bytes)} free at {machine.disk_path}"
        if machine.disk_free_bytes is not None
        else f"free space at {machine.disk_path} is unknown",
    }
    gpus = [f"  {'gpu':<9} {one_line(_gpu(gpu))}" for gpu in machine.gpus]
    return ["machine", *(f"  {name:<9} {one_line(value)}" for name, value in rows.items()), *gpus]


def _gpu(gpu: GpuFacts) -> str:
    half = "float16" if gpu.has_float16 else "no float16"
    largest = human_bytes(gpu.largest_buffer_bytes)
    return f"{gpu.name} ({gpu.kind}), {human_bytes(gpu.memory_bytes)}, buffers up to {largest}, {half}"


def _software(software: Software) -> list[str]:
    rows = {
        "system": software.system,
        "python": software.python,
        **{package.name: package.version or "not usable" for package in software.packages},
        "providers": " ".join(software.providers) or "none",
        "telemetry": {True: "on", False: "off", None: "no ONNX Runtime"}[software.telemetry],
    }
    width = max(map(len, rows))
    return ["software", *(f"  {name:<{width}} {one_line(value)}" for name, value in rows.items())]


def _estimate(estimate: SpeedEstimate) -> str:
    verdict = "fits" if estimate.fits else "DOES NOT FIT"
    text = f"  {estimate.takes:<21} {human_bytes(estimate.memory_bytes):>9} at {estimate.context:,} tokens: {verdict}"
    if estimate.fits and estimate.most_tokens_s is not None:
        short = _range(estimate.most_tokens_s_low, estimate.most_tokens_s)
        filled = _range(estimate.most_tokens_s_filled_low, estimate.most_tokens_s_filled)
        text += f", at most {short} tokens/s, {filled} when filled"
    return text


def _range(low: float | None, high: float | None) -> str:
    """Two digits each, as more do not hold until the next reading."""
    words = [_two_digits(value) for value in (low, high) if value]
    return " to ".join(dict.fromkeys(words))


def _two_digits(value: float) -> str:
    if value < 9.95:
        return f"{value:.1f}"
    scale = 10 ** max(len(str(int(value))) - 2, 0)
    return f"{round(value / scale) * scale:,}"
