"""A person who waits for the first word sees that something happens, and can end it; programs see nothing of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.bundles import small_bundle
from support.shell import invoke, spawn
from support.terminal import CTRL_C, Terminal

ARGUMENTS = (small_bundle(), "hello there " * 40, "--max-new-tokens", 2, "--threads", 1, "--chunk", 64)
# Each pass through the decoder takes until it is ended, or as long as the real model's would.
_SLOW = """
import time
from edgephi.console import progress
from edgephi.decoder.forward import DecoderPass
progress._DELAY_S, progress._TICK_S = 0.0, 0.02
run = DecoderPass._run
def slow(self, options):
    end = time.monotonic() + {seconds}
    while options is not None and not options.terminate and time.monotonic() < end:
        time.sleep(0.01)
    return run(self, options)
DecoderPass._run = slow
"""
# Says when loading begins: what is shown before that was shown at once.
_HELD = """
import sys
from edgephi.model import Model
load = Model.load
def held(*arguments, **options):
    sys.stderr.write("begun to load")
    sys.stderr.flush()
    return load(*arguments, **options)
Model.load = held
"""
XTERM = {"TERM": "xterm"}


def _left_on_screen(screen: str) -> str:
    """What is still to be seen once lines are erased as a terminal would."""
    lines = [re.split(r"\r\x1b\[K", line)[-1] for line in screen.split("\n")]
    return "\n".join(lines)


@pytest.mark.parametrize(("command", "keys"), [("run", None), ("chat", "hello there " * 40 + "\r")])
def test_what_happens_before_the_first_word_is_shown_and_then_erased(command: str, keys: str | None):
    arguments = [argument for argument in ARGUMENTS if keys is None or argument != ARGUMENTS[1]]
    with Terminal(command, *arguments, prepare=_SLOW.format(seconds=0.2), environment=XTERM) as terminal:
        terminal.wait_for("loading")
        if keys is not None:
            terminal.wait_for("> ")
            terminal.press(keys)
        terminal.wait_for("prefill 0/")
        terminal.wait_for("prefill 64/")
        terminal.wait_for("prefill 128/")
        terminal.wait_for("note: the ")
        if keys is not None:
            terminal.press("/exit\r")
        assert terminal.wait_for_exit() == 0
    assert "prefill" not in _left_on_screen(terminal.screen)
    assert "loading" not in _left_on_screen(terminal.screen)


def test_seconds_go_on_within_one_pass():
    """A pass of the real model takes seconds; a line that stands still looks like a program that hangs."""
    with Terminal("run", *ARGUMENTS, prepare=_SLOW.format(seconds=60), environment=XTERM) as terminal:
        terminal.wait_for("prefill 0/")
        terminal.wait_for_more(40)
        began = re.findall(r"prefill 0/\d+ tokens · (\d+) s", terminal.screen)
        terminal.wait_for(f"· {int(began[0]) + 1} s")
        terminal.wait_for(f"· {int(began[0]) + 2} s")
        terminal.press(CTRL_C)
        terminal.wait_for("interrupted")
        assert terminal.wait_for_exit() == 130


def test_ctrl_c_in_a_chat_ends_a_pass_and_the_conversation_goes_on():
    slow = _SLOW.format(seconds=600)
    with Terminal("chat", ARGUMENTS[0], *ARGUMENTS[2:], prepare=slow, environment=XTERM) as terminal:
        terminal.wait_for("> ")
        terminal.press("hello there " * 40 + "\r")
        terminal.wait_for("prefill 0/")
        terminal.press(CTRL_C)
        terminal.wait_for("(stopped before an answer; the message was not kept)")
        terminal.wait_for("> ")
        terminal.press("/exit\r")
        assert terminal.wait_for_exit() == 0


@pytest.mark.parametrize("columns", [12, 1])
def test_a_narrow_terminal_is_never_wrapped(columns: int):
    """A line that wraps cannot be erased: each tick would leave one more behind."""
    environment = {**XTERM, "COLUMNS": str(columns)}
    with Terminal("run", *ARGUMENTS, prepare=_SLOW.format(seconds=0.1), environment=environment) as terminal:
        assert terminal.wait_for_exit() == 0
    drawn = re.findall(r"\r\x1b\[K([^\r\n\x1b]*)(?=\r\x1b\[K)", terminal.screen)
    assert len(drawn) > 3
    assert max(map(len, drawn)) <= max(columns - 1, 1)


@pytest.mark.parametrize(("options", "environment"), [(["--quiet"], XTERM), ([], {"TERM": "dumb"})])
def test_nothing_is_drawn_where_it_is_not_wanted_or_cannot_be_erased(options: list[str], environment: dict[str, str]):
    with Terminal("run", *ARGUMENTS, *options, prepare=_SLOW.format(seconds=0.1), environment=environment) as terminal:
        assert terminal.wait_for_exit() == 0
    assert "prefill" not in terminal.screen
    assert "\x1b" not in terminal.screen
    assert ("tokens/s" in terminal.screen) is (options == [])


def test_a_program_that_reads_stderr_sees_no_progress():
    done = spawn("run", *ARGUMENTS)
    assert done.returncode == 0
    assert done.stderr.startswith("note: the reply was cut")
    assert "prefill" not in done.stderr


def test_quiet_leaves_the_answer_and_errors():
    assert invoke("run", *ARGUMENTS, "--quiet").stderr == ""
    assert invoke("run", *ARGUMENTS).stdout == invoke("run", *ARGUMENTS, "-q").stdout != ""
    assert invoke("run", "nowhere", "hello", "-q").stderr.startswith("error: nowhere: no such model folder")


def test_transcribe_says_that_it_loads_before_it_does_and_that_it_listens():
    recording = Path(__file__).parents[3] / "nano" / "samples" / "sentence.wav"
    slow = _SLOW.format(seconds=0.3) + _HELD
    with Terminal("transcribe", ARGUMENTS[0], recording, "--threads", 1, prepare=slow, environment=XTERM) as terminal:
        terminal.wait_for("loading")
        terminal.wait_for("begun to load")
        terminal.wait_for("sentence.wav: 0:00 of 0:0")
        assert terminal.wait_for_exit() == 0
    assert "loading" not in _left_on_screen(terminal.screen)
    assert "0:00 of" not in _left_on_screen(terminal.screen)


@pytest.mark.parametrize("command", ["run", "chat", "transcribe"])
def test_something_is_shown_although_the_vocabulary_keeps_the_interpreter(command: str):
    """Reading it is native code that lets no other thread draw."""
    arguments = ["hello"] if command == "run" else [__file__] if command == "transcribe" else []
    with Terminal(command, ARGUMENTS[0], *arguments, prepare=_HELD, environment=XTERM) as terminal:
        terminal.wait_for("begun to load")
    assert "loading" in terminal.screen.partition("begun to load")[0]
