"""`--help` is the manual: it must explain every option of every command, with its default, and show examples."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from edgephi.cli.main import main
from edgephi.model_options import DEFAULT_CACHE_BYTES, DEFAULT_CHUNK
from support.shell import invoke


def _commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, those of the host's packages and of groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = dict(_commands(main))
OPTIONS = [
    (names, option)
    for names, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def _help(names: tuple[str, ...]) -> str:
    done = invoke(*names, "--help")
    assert done.exit_code == 0
    return " ".join(done.stdout.split())


def test_the_walk_finds_the_commands():
    assert {("run",), ("chat",), ("transcribe",), ("export",), ("bench", "compare")} <= COMMANDS.keys()
    assert len(OPTIONS) > 50


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_has_an_examples_block_of_itself(names: tuple[str, ...]):
    block = re.split(r"\bExamples?:", _help(names))[1].split(" Options:")[0]
    assert f"edgephi {' '.join(names).removesuffix(' model')} " in f"{block} "  # `bench` alone is `bench model`


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_an_example_uses_only_options_that_exist(names: tuple[str, ...]):
    """An example that is refused teaches nothing; renaming an option must reach it."""
    examples = re.split(r"\bExamples?:", COMMANDS[names].help or "")[1]
    mine = [line for line in examples.splitlines() if f"edgephi {' '.join(names)} " in line]
    known = {name for option in COMMANDS[names].params for name in (*option.opts, *option.secondary_opts)}
    assert {word for line in mine for word in re.findall(r"(?<=\s)--?[a-z][a-z-]*", line)} <= known


@pytest.mark.parametrize(("names", "option"), OPTIONS, ids=[f"{' '.join(n)} {o.opts[-1]}" for n, o in OPTIONS])
def test_every_option_is_explained_with_its_default(names: tuple[str, ...], option: click.Option):
    context = click.Context(COMMANDS[names])
    assert option.help, f"{option.opts[0]} has no help"
    _, explained = option.get_help_record(context) or ("", "")
    default = option.to_info_dict()["default"]  # None where click has a sentinel
    if default not in (None, False, (), ""):
        assert re.search(r"[\[;] ?default: ", explained), f"{option.opts[0]} does not show its default, {default}"


@pytest.mark.parametrize(("names", "option"), OPTIONS, ids=[f"{' '.join(n)} {o.opts[-1]}" for n, o in OPTIONS])
def test_every_option_is_in_a_named_group_of_the_help(names: tuple[str, ...], option: click.Option):
    """Forty lines in one list are not read."""
    titled = re.split(
        r"\n(?=[A-Z][\w ]* options:\n)", invoke(*names, "--help").stdout.replace("\nOptions:", "\nX options:")
    )
    (section,) = [part for part in titled[1:] if re.search(rf"\n  [^\n]*(?<!\S){option.opts[-1]}\b(?!-)", part)]
    assert not section.startswith("X options:")


def test_options_of_transcribe_and_bench_stand_where_they_are_looked_for():
    transcribed = re.findall(r"^([A-Z].*) options:$", invoke("transcribe", "--help").stdout, re.MULTILINE)
    assert transcribed == ["Audio", "Segment", "Model", "Output"]
    measured = re.findall(r"^([A-Z].*) options:$", invoke("bench", "model", "--help").stdout, re.MULTILINE)
    assert measured == ["Measurement", "Repetition", "Peer", "Model", "Output"]


def test_defaults_that_help_spells_out_are_those_in_use():
    """They are texts, so that help need not load the runtime."""
    shown = _help(("run",))
    assert f"take more memory. [default: {DEFAULT_CHUNK}]" in shown
    assert f"keeps nothing. [default: {DEFAULT_CACHE_BYTES >> 30}GiB]" in shown
