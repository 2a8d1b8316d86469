"""The options of `edgephi bench`: explained, used in examples, and what --quick makes of them."""

from __future__ import annotations

import dataclasses
import re

import click
import pytest
from click.testing import CliRunner, Result

from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.commands.model_options import MeasurementOptions

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["bench", *map(str, arguments)])


def test_quick_measures_less_and_what_is_given_as_well_counts() -> None:
    command = bench.get_command(click.Context(bench), "model")
    assert command is not None
    for arguments, runs, prompt in (([], 5, "512"), (["--quick"], 3, "128"), (["--quick", "--runs", "7"], 7, "128")):
        with command.make_context("model", ["m", *arguments]) as context:
            values = {field.name: context.params[field.name] for field in dataclasses.fields(MeasurementOptions)}
            chosen = MeasurementOptions(**values).with_quick_values(context)
            assert (chosen.runs, chosen.prompt_tokens) == (runs, prompt)


def test_help_explains_measuring_and_the_commands() -> None:
    text = _run("--help").stdout
    for words in ("MODEL", "--peers", "--html", "compare", "synthetic", "export", "gguf", "show"):
        assert words in text
    assert "--peer-python" in _run("model", "--help").stdout
    assert "--fail-over" in _run("compare", "--help").stdout


@pytest.mark.parametrize("name", ["compare", "export", "gguf", "model", "show", "synthetic"])
def test_every_option_is_explained_and_used_in_an_example(name: str) -> None:
    command = bench.get_command(click.Context(bench), name)
    assert command is not None
    examples = (command.help or "").partition("Examples:")[2]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.opts
            assert any(re.search(rf"(?<!\S){form}(?!\S)", examples) for form in option.opts), option.opts
