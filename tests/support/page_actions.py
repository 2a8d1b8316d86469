"""What a user does in the page, and what the page sent."""

from __future__ import annotations

import base64
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

SAMPLES = Path(__file__).parents[2] / "nano/samples"
_TRANSFER = """([selector, kind, name, type, content]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type }));
  const given = { bubbles: true, cancelable: true };
  const event = kind === 'paste' ? new ClipboardEvent(kind, { ...given, clipboardData: files })
    : new DragEvent(kind, { ...given, dataTransfer: files });
  document.querySelector(selector).dispatchEvent(event);
}"""


def say(page: Page, words: str) -> None:
    """Write a message and send it."""
    page.fill("#text", words)
    page.press("#text", "Enter")


def replies(page: Page) -> list[str]:
    """The texts of all replies, once the last is complete."""
    page.wait_for_selector(".reply:last-child:not([aria-busy])")
    return page.locator(".reply .prose").all_inner_texts()


def hand_over(page: Page, kind: str, selector: str, path: Path, media_type: str) -> None:
    """Drop or paste a file onto an element. `kind`: dragover, drop or paste."""
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(_TRANSFER, [selector, kind, path.name, media_type, content])


def _long_recording(folder: Path) -> Path:
    """Minutes of speech: the sample, again and again."""
    with wave.open(str(SAMPLES / "sentence.wav")) as sample, wave.open(str(folder / "long.wav"), "wb") as long:
        long.setparams(sample.getparams())
        once = sample.readframes(sample.getnframes()) + bytes(sample.getframerate() * 2)
        for _ in range(600):  # seconds of work for a fast machine
            long.writeframes(once)
    return folder / "long.wav"


def transcribe_a_long_one(page: Page, folder: Path) -> None:
    """Begin to transcribe minutes of speech, and wait for the first segment."""
    page.click("#to-transcribe")
    page.set_input_files("#recording-file", _long_recording(folder))
    page.click("#start")
    page.wait_for_selector("#segments li")


def wait_for_text(page: Page, selector: str, words: str) -> None:
    page.wait_for_function(
        "([selector, words]) => document.querySelector(selector)?.innerText.includes(words)", arg=[selector, words]
    )


def parts_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a request's last message."""
    parts: list[dict[str, Any]] = body["messages"][-1]["content"]
    return parts


def image_bytes(part: dict[str, Any]) -> bytes:
    return base64.b64decode(part["image_url"]["url"].partition(",")[2])
