"""The demo's samples: a few held-out requests of every mode, written as files that `edgephi demo` reads.

    python -m edgephi_nano.make_samples FOLDER

None of them was trained on: texts are on the held-out side of the split, pictures come from their own seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from PIL import Image

from edgephi_nano.heldout import PictureCase, SpeechCase, commands, pictures, speech_clips, spoken_questions
from edgephi_nano.picture_questions import WRITTEN
from edgephi_nano.spoken_cases import TRANSCRIBE
from edgephi_nano.tokenizer import CALL, CALL_STOP
from edgephi_nano.tools import SYSTEM_TEXT

SEED = 2026
SAMPLE_RATE_HZ = 16_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SampleWriter:
    """Writes media files into `folder` and remembers the entries of samples.json."""

    folder: Path
    entries: list[dict[str, Any]]

    def sound(self, name: str, samples: np.ndarray) -> str:
        """Write 16-bit PCM; returns the file's name."""
        soundfile.write(self.folder / f"{name}.wav", samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        return f"{name}.wav"

    def picture(self, name: str, image: Image.Image) -> str:
        """Write a PNG; returns the file's name."""
        image.save(self.folder / f"{name}.png", optimize=True)
        return f"{name}.png"

    def tool_call(self) -> None:
        """A written command with three tools on offer."""
        case = first(commands(50, SEED), lambda c: c.tools.count('"name"') == 3 and "degrees" in c.text)
        self.entries.append(
            {
                "mode": "text",
                "title": "a command becomes a tool call",
                "system": SYSTEM_TEXT,
                "tools": case.tools,
                "prompt": case.text,
                "expected": case.answer.removeprefix(CALL).removesuffix(CALL_STOP),
            }
        )

    def speech(self, name: str, title: str, case: SpeechCase) -> None:
        """A clip to write down."""
        audio = self.sound(name, case.samples)
        self.entries.append(
            {"mode": "speech", "title": title, "audio": audio, "prompt": TRANSCRIBE, "expected": case.answer}
        )

    def question(self, name: str, title: str, case: PictureCase) -> None:
        """A question about a picture, written or spoken."""
        entry = {"title": title, "image": self.picture(name, case.image), "expected": case.answer}
        if case.samples is None:
            self.entries.append(entry | {"mode": "vision", "prompt": WRITTEN[case.question]})
        else:
            audio = self.sound(f"{name}-question", case.samples)
            self.entries.append(entry | {"mode": "vision_speech", "prompt": "", "audio": audio})


def first(cases: Iterable[T], wanted: Callable[[T], bool]) -> T:
    """The first case of a kind.

    Raises:
        ValueError: There is none.
    """
    found = list(islice((case for case in cases if wanted(case)), 1))
    if not found:
        raise ValueError("no case of that kind among those drawn")
    return found[0]


def _is_wide(case: PictureCase) -> bool:
    return case.image.width > 1.6 * case.image.height


def write_samples(folder: Path) -> None:
    """Write every sample and samples.json."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = SampleWriter(folder, [])
    written, spoken = list(pictures(100, SEED)), list(spoken_questions(50, SEED, voices="unseen"))
    writer.tool_call()
    command = first(speech_clips(50, SEED, voices="unseen"), lambda c: "kitchen" in c.answer)
    writer.speech("command", "a voice never heard in training", command)
    sentence = first(speech_clips(50, SEED + 1, voices="known"), lambda c: "the" in c.answer.split()[:1])
    writer.speech("sentence", "a sentence never heard in training", sentence)
    writer.question("number", "a number", first(written, lambda c: c.question == "number"))
    writer.question(
        "sign", "a wide sign, cut into several crops", first(written, lambda c: c.scene == "word" and _is_wide(c))
    )
    writer.question("shape", "a shape", first(written, lambda c: c.question == "shape"))
    writer.question("bars", "a bar chart", first(written, lambda c: c.question == "tallest"))
    writer.question("spoken-number", "an image and a spoken question", first(spoken, lambda c: c.question == "number"))
    writer.question("spoken-colour", "another, about colour", first(spoken, lambda c: c.question == "colour"))
    text = json.dumps({"samples": writer.entries}, indent=1, ensure_ascii=False)
    (folder / "samples.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Write the samples into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    write_samples(parser.parse_args().folder)


if __name__ == "__main__":
    main()
