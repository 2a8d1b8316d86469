"""A signal at a random moment of a command's life, and whether what follows is what a user expects."""

from __future__ import annotations

import collections
import os
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 60
_AT_ONCE = 2
_MISHAPS = ("Traceback", "Exception ignored", "Fatal Python error", "terminate called", "core dumped", "Segmentation")
#: Where Python ends when a signal comes before the first line of ours runs: it says so itself.
_OURS = ("cli/main.py", "cli/ending.py", "in program", "session.py", "click/")


@dataclass(frozen=True, slots=True)
class Scene:
    """A command, its folder for outputs, and all that it writes when nobody interrupts it.

    Attributes:
        arguments: Of `edgephi`; `{out}` is a folder of the try's own.
        stdout: Of a whole run.
        output: Of its file, if it writes one, whose name is given by `file`.
        file: Below `{out}`.
        on_terminal: Whether it runs on a pseudo-terminal with nobody typing.
    """

    arguments: tuple[str, ...]
    stdout: str = ""
    output: str = ""
    file: str = ""
    on_terminal: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    left: dict[str, str]


def run_command(scene: Scene, folder: Path, number: int | None, delay_s: float) -> Ended:
    """Run it and send the signal once `delay_s` is over."""
    command = [sys.executable, "-m", "edgephi", *(word.replace("{out}", str(folder)) for word in scene.arguments)]
    if scene.on_terminal:
        return _on_terminal(command, folder, number, delay_s)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if number is not None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay_s)
        process.send_signal(number)
    stdout, stderr = process.communicate(timeout=_PATIENCE_S)
    return Ended(process.returncode, stdout.decode(), stderr.decode(), _files(folder))


def _on_terminal(command: list[str], folder: Path, number: int | None, delay_s: float) -> Ended:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    screen, begin_s, sent = b"", time.monotonic(), 0
    while process.poll() is None or select.select([master], [], [], 0)[0]:
        assert time.monotonic() < begin_s + _PATIENCE_S, f"does not end: {screen!r}"
        if select.select([master], [], [], 0.01)[0]:
            try:
                screen += os.read(master, 65536)
            except OSError:
                break
        if number is not None and time.monotonic() > begin_s + delay_s + sent:
            process.send_signal(number)  # a person presses again after a second when nothing happens
            sent += 1
    process.wait(_PATIENCE_S)
    os.close(master)
    return Ended(process.returncode, "", screen.decode(errors="replace"), _files(folder))


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def judged(scene: Scene, ended: Ended, number: int) -> str:
    """`interrupted`, `complete`, or `before our first line`.

    Raises:
        AssertionError: A traceback, a wrong code, something lost or left over.
    """
    details = f"signal {number}, code {ended.code}\n{ended.stderr}\n{ended.stdout[-300:]}\n{list(ended.left)}"
    if ended.code == -number or (ended.code in (1, 130) and "KeyboardInterrupt" in ended.stderr):
        assert not any(words in ended.stderr for words in _OURS), details
        assert not ended.stdout, details
        assert not ended.left, details
        return "before our first line"
    assert not any(words in ended.stderr for words in _MISHAPS), details
    assert scene.stdout.startswith(ended.stdout.removesuffix("\n")), details
    allowed = {scene.file, f"{scene.file}.partial"} if scene.file else set()
    assert set(ended.left) <= allowed, details
    assert scene.output.startswith(ended.left.get(scene.file, "")), details
    if ended.code == 0 and not scene.on_terminal:
        assert ended.stdout == scene.stdout, details
        assert ended.left.get(scene.file, "") == scene.output, details
        return "complete"
    if ended.code == 0:  # two presses of Ctrl-C leave a chat in peace
        assert number == signal.SIGINT, details
        return "complete"
    assert ended.code == 128 + number, details
    assert "interrupted" in ended.stderr, details
    return "interrupted"


def whole(scene: Scene, folder: Path) -> tuple[Scene, float]:
    """The scene with what an undisturbed run writes, and the seconds that it takes."""
    begin_s = time.monotonic()
    if scene.on_terminal:
        return scene, 1.2
    ended = run_command(scene, folder, None, 0)
    assert ended.code == 0, ended.stderr
    took_s = time.monotonic() - begin_s
    return (
        Scene(scene.arguments, stdout=ended.stdout, output=ended.left.get(scene.file, ""), file=scene.file),
        took_s,
    )


def tries(scenes: list[Scene], count: int, seed: int = 0) -> collections.Counter[str]:
    """How `count` tries ended, some at a time; every one is judged."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(_AT_ONCE) as pool:
        timed = list(pool.map(whole, scenes, [_folder(place, f"whole-{index}") for index in range(len(scenes))]))

        def one(index: int, share: float) -> str:
            scene, took_s = timed[index % len(timed)]
            number = NUMBERS[index // len(timed) % len(NUMBERS)]
            delay_s = share * took_s
            try:
                outcome = judged(scene, run_command(scene, _folder(place, str(index)), number, delay_s), number)
            except AssertionError as error:
                raise AssertionError(f"{scene.arguments[0]} after {delay_s:.3f} s: {error}") from error
            return f"{scene.arguments[0]}: {outcome}"

        return collections.Counter(pool.map(one, range(count), [draw.random() for _ in range(count)]))


def _folder(place: str, name: str) -> Path:
    folder = Path(place) / name
    folder.mkdir()
    return folder


def scenes(model: str, talk: Path, recording: Path) -> list[Scene]:
    """run, transcribe to stdout and to a file, and chat."""
    small = ("--threads", "1", "--max-new-tokens", "60")
    return [
        Scene(("run", str(talk), "Tell me a story", *small)),
        Scene(("transcribe", model, str(recording), "--threads", "1", "--window-s", "2")),
        Scene(
            ("transcribe", model, str(recording), "--threads", "1", "--window-s", "2", "-o", "{out}/a.txt"),
            file="a.txt",
        ),
        Scene(("chat", model, *small), on_terminal=True),
    ]
