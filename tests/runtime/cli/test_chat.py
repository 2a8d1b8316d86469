"""`edgephi chat`: a conversation that goes on whatever happens to one message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model, SamplingOptions
from edgephi.cli.conversation import as_path
from edgephi.console.report import printable
from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke, spawn
from support.terminal import CTRL_C, CTRL_D, Terminal

FEW = SamplingOptions(max_new_tokens=6)
CHAT = ("chat", small_bundle(), "--max-new-tokens", 6, "--threads", 1)


def _chat(*lines: str) -> str:
    """What is on stdout after these lines came from a pipe."""
    done = invoke(*CHAT, stdin="".join(f"{line}\n" for line in lines))
    assert done.exit_code == 0, done.stderr
    return done.stdout


def _fresh(messages: Any) -> str:
    """The answer of a model that has read nothing before."""
    with Model.load(small_bundle(), threads=1) as model:
        return model.generate(messages, options=FEW).text


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def test_a_line_from_a_pipe_is_answered_on_stdout_and_nothing_else_is_there():
    done = spawn(*CHAT, stdin="hello\n")
    assert (
        done.returncode,
        done.stderr.replace("note: the answer was cut; raise --max-new-tokens for more\n", ""),
    ) == (
        0,
        "",
    )
    assert done.stdout == _fresh("hello") + "\n"


def test_every_answer_is_that_to_the_whole_conversation():
    """A turn lost, or sent twice, makes the model contradict itself."""
    one = _fresh("hello")
    two = _fresh([_user("hello"), _assistant(one), _user("and then")])
    three = _fresh([_user("hello"), _assistant(one), _user("and then"), _assistant(two), _user("why")])
    assert _chat("hello", "and then", "why") == f"{one}\n{two}\n{three}\n"


def test_media_stay_in_the_conversation_and_keep_their_adapter(tmp_path: Path):
    """An image of the first turn must still be seen, with the vision adapter, when the second is answered."""
    image, recording = write_image(tmp_path / "a.png"), write_recording(tmp_path / "a.wav")
    first = _user([{"type": "image", "image": image}, {"type": "text", "text": "what"}])
    one = _fresh([first])
    second = _user([{"type": "audio", "audio": recording}])
    two = _fresh([first, _assistant(one), second])
    three = _fresh([first, _assistant(one), second, _assistant(two), _user("why")])
    assert _chat(f"/image {image}", "what", f"/audio {recording}", "", "why") == f"{one}\n{two}\n{three}\n"


def test_what_is_attached_at_the_end_of_the_pipe_is_sent(tmp_path: Path):
    recording = write_recording(tmp_path / "a.wav")
    assert _chat(f"/audio {recording}") == _fresh([_user([{"type": "audio", "audio": recording}])]) + "\n"


def test_a_file_that_goes_away_stays_in_the_conversation(tmp_path: Path):
    image = write_image(tmp_path / "a.png")
    first = _user([{"type": "image", "image": image.read_bytes()}, {"type": "text", "text": "what"}])
    one = _fresh([first])
    two = _fresh([first, _assistant(one), _user("why")])
    with Terminal(*CHAT) as terminal:
        for keys, shown in ((f"/image {image}\r", "(attached"), ("what\r", "\n> ")):
            terminal.press(keys)
            terminal.wait_for(shown)
        image.unlink()
        terminal.press("why\r")
        terminal.press("/save " + str(tmp_path / "c.json") + "\r")
        terminal.wait_for("(written to")
    saved = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert [turn["content"] for turn in saved[1::2]] == [one, two]
    assert saved[0]["content"][0] == {"type": "image", "image": str(image)}


def test_system_undo_and_reset_change_what_is_sent():
    system = {"role": "system", "content": "Be brief."}
    briefly = _fresh([system, _user("hello")])
    plain = _fresh("hello")
    assert _chat("/system Be brief.", "hello", "/undo", "hello") == f"{briefly}\n{briefly}\n"
    assert _chat("hello", "/system Be brief.", "/reset", "hello") == f"{plain}\n{briefly}\n"
    assert _chat("/system Be brief.", "/system", "hello") == f"{plain}\n"
    given = invoke(*CHAT, "--system", "Be brief.", stdin="hello\n")
    assert given.stdout == f"{briefly}\n"


def test_lines_go_on_after_a_backslash_and_slashes_can_be_sent():
    assert _chat("one\\", "two") == _fresh("one\ntwo") + "\n"
    assert _chat("//help") == _fresh("/help") + "\n"
    assert _chat("/etc/hosts is what") == _fresh("/etc/hosts is what") + "\n"


def test_nothing_more_is_answered_after_exit():
    assert _chat("hello", "/exit", "why") == _fresh("hello") + "\n"
    assert _chat("", "  ") == ""


def test_the_timing_is_shown_on_request_only():
    assert "first token" in invoke(*CHAT, "--verbose", stdin="hello\n").stderr
    assert "first token" not in invoke(*CHAT, stdin="hello\n").stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/image no.png", "error: no.png: no such file"),
        ("/image", "error: /image needs the path of a file"),
        ("/audio pyproject.toml", "error: pyproject.toml: "),
        ("/imagine", "error: /imagine is not a command; /help lists them"),
        ("/save /no/such/folder/x", "error: /no/such/folder/x: cannot be written"),
        ("<|image_1|>", "error: the messages have places for 1 images but 0 were given"),
    ],
)
def test_in_a_pipe_the_first_failure_ends_it_with_its_exit_code(line: str, words: str):
    """A script must not take the answer to the wrong question for a success."""
    done = invoke(*CHAT, stdin=f"hello\n{line}\nwhy\n")
    assert (done.exit_code, done.stdout) == (2, _fresh("hello") + "\n")
    assert done.stderr.splitlines()[-1].startswith(words)


def test_media_the_model_cannot_take_are_refused_when_they_are_attached(tmp_path: Path):
    done = invoke("chat", small_bundle("phi3"), stdin=f"/image {write_image(tmp_path / 'a.png')}\n")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "this model folder has no vision" in done.stderr


@pytest.mark.parametrize(
    ("redirect", "words"), [("printf 'x\\377\\n' |", "not UTF-8 at its byte 1"), ("<&-", "stdin is closed")]
)
def test_a_stdin_that_is_no_text_is_refused(redirect: str, words: str):
    run = f"{sys.executable} -m edgephi chat {small_bundle()}"
    line = f"{redirect} {run}" if redirect.endswith("|") else f"{run} {redirect}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_options_are_refused_before_the_model_is_loaded():
    done = invoke("chat", "no/such/model", "--temperature", "nan", stdin="hello\n")
    assert done.exit_code == 2
    assert "temperature is nan" in done.stderr


def _endless() -> list[object]:
    """Options with which an answer does not end by itself soon, nor repeats a token that has no text."""
    with Model.load(small_bundle()) as model:
        eos = model.manifest.tokens.eos
    drawn = ["--temperature", 2, "--seed", 1, "--no-speculate", "--max-new-tokens", 100_000]
    return [*drawn, *(word for token_id in eos for word in ("--logit-bias", f"{token_id}=-100"))]


def test_ctrl_c_stops_the_answer_and_what_was_answered_stays(tmp_path: Path):
    saved = tmp_path / "c.json"
    with Terminal("chat", small_bundle(), *_endless()) as terminal:
        terminal.wait_for("> ")
        for question in ("hello", "why"):
            terminal.press(f"{question}\r")
            terminal.wait_for(f"{question}\n")
            terminal.wait_for_more(40)
            terminal.press(CTRL_C)
            terminal.wait_for("(stopped; what was answered stays in the conversation)")
            terminal.wait_for("> ")
        terminal.press(f"/save {saved}\r")
        terminal.wait_for("(written to")
        terminal.press("/exit\r")
        assert terminal.wait_for_exit() == 0
        turns = json.loads(saved.read_text(encoding="utf-8"))
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
        for turn in turns[1::2]:
            assert len(turn["content"]) > 20
            assert printable(turn["content"]) in terminal.screen.replace("^C", "")  # which the terminal shows itself
        assert "Traceback" not in terminal.screen


def test_an_answer_stopped_before_its_first_word_keeps_nothing(tmp_path: Path):
    """Half a turn in the conversation would be answered by the next reply."""
    saved, recording = tmp_path / "c.json", write_recording(tmp_path / "a.wav")
    # Ctrl-C comes while the encoder works: as the key would, but at a moment that is known.
    prepare = (
        "import os, signal\nfrom edgephi.media.processor import MediaProcessor\n"
        "encode = MediaProcessor.encode\ncalls = []\n"
        "def interrupted(*given):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 1: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return encode(*given)\n"
        "MediaProcessor.encode = interrupted\n"
    )
    with Terminal(*CHAT, prepare=prepare) as terminal:
        terminal.press(f"/audio {recording}\rwhat\r")
        terminal.wait_for("(stopped before an answer; the message was not kept; what was attached still waits)")
        terminal.press(f"what\r/save {saved}\r")
        terminal.wait_for("(written to")
    parts = [{"type": "audio", "audio": str(recording)}, {"type": "text", "text": "what"}]
    assert json.loads(saved.read_text(encoding="utf-8")) == [_user(parts), _assistant(_fresh([_user(parts)]))]


def test_ctrl_c_at_the_prompt_leaves_when_pressed_twice():
    with Terminal(*CHAT) as terminal:
        terminal.wait_for("> ")
        terminal.press("never mind" + CTRL_C)
        terminal.wait_for("(Ctrl-C once more, or Ctrl-D, leaves)")
        terminal.wait_for("> ")
        terminal.press("/help\r")  # any line in between starts the count again
        terminal.wait_for("/reset")
        terminal.wait_for("> ")
        terminal.press(CTRL_C)
        terminal.wait_for("> ")
        terminal.press(CTRL_C)
        assert terminal.wait_for_exit() == 0


def test_ctrl_d_leaves():
    with Terminal(*CHAT) as terminal:
        terminal.wait_for("> ")
        terminal.press(CTRL_D)
        assert terminal.wait_for_exit() == 0


def test_at_a_terminal_a_failure_is_one_line_and_the_conversation_goes_on(tmp_path: Path):
    saved = tmp_path / "c.json"
    with Terminal(*CHAT) as terminal:
        terminal.wait_for("> ")
        terminal.press("hello\r/image no.png\r\udcff\r/nonsense\rwhy\r" + f"/save {saved}\r")
        terminal.wait_for("error: no.png: no such file")
        terminal.wait_for("error: the line is not UTF-8 at its byte 0")
        terminal.wait_for("error: /nonsense is not a command")
        terminal.wait_for("(written to")
    one = _fresh("hello")
    two = _fresh([_user("hello"), _assistant(one), _user("why")])
    assert json.loads(saved.read_text(encoding="utf-8")) == [
        _user("hello"), _assistant(one), _user("why"), _assistant(two),
    ]  # fmt: skip


def test_a_full_context_says_so_and_the_message_is_not_kept(tmp_path: Path):
    saved = tmp_path / "c.json"
    prepare = (
        "from edgephi import Model\nload = Model.load\n"
        "Model.load = lambda path, options, **given: load(path, options, **given, max_context=40)\n"
    )
    with Terminal(*CHAT, prepare=prepare) as terminal:
        terminal.press("hello\r" + "long " * 20 + f"\r/save {saved}\r")
        terminal.wait_for("but the context holds 40")
        terminal.wait_for("(the message was not kept; /undo removes the last turn, /reset all of them)")
        terminal.wait_for("(written to")
        terminal.press("/reset\rhello\r/save " + str(tmp_path / "d.json") + "\r")
        terminal.wait_for("(written to")
    for path in (saved, tmp_path / "d.json"):
        assert [turn["content"] for turn in json.loads(path.read_text(encoding="utf-8"))] == ["hello", _fresh("hello")]


def test_with_stdout_in_a_file_only_answers_go_there(tmp_path: Path):
    path = tmp_path / "answers.txt"
    with Terminal(*CHAT, stdout=path) as terminal:
        terminal.wait_for("> ")
        terminal.press("hello\r")
        terminal.wait_for("> ")
        terminal.press("/exit\r")
        assert terminal.wait_for_exit() == 0
    assert path.read_text(encoding="utf-8") == _fresh("hello") + "\n"


def test_the_tab_key_completes_commands_and_file_names(tmp_path: Path):
    pytest.importorskip("readline")
    image = write_image(tmp_path / "image-of-a-cat.png")
    with Terminal(*CHAT) as terminal:
        terminal.wait_for("> ")
        terminal.press(f"/ima\t{tmp_path}/imag\t\r")
        terminal.wait_for(f"(attached to the next message: {image}, ")


def test_a_saved_conversation_is_not_written_over(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text("precious", encoding="utf-8")
    assert "exists already" in invoke(*CHAT, stdin=f"/save {path}\n").stderr
    assert path.read_text(encoding="utf-8") == "precious"


def test_paths_are_taken_as_typed_or_as_terminals_quote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "it's a.png"
    path.touch()
    assert as_path(str(path)) == str(path)
    assert as_path(f'"{path}"') == str(path)
    assert as_path(str(path).replace(" ", "\\ ").replace("'", "\\'")) == str(path)
    assert as_path("~/x.png") == str(tmp_path / "x.png")
    assert as_path("no such.png") == "no such.png"


def test_a_conversation_is_saved_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgephi.base.output_file.os.fsync", full)
    done = invoke(*CHAT, stdin=f"/save {tmp_path}/a.json\n")
    assert done.exit_code == 2
    assert "a.json: cannot be written (No space left on device)" in done.stderr
    assert list(tmp_path.iterdir()) == []
