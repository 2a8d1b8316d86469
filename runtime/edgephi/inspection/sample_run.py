"""The samples of `edgephi demo` put to a model, and their answers judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephi.audio.decoding import load_audio
from edgephi.base.errors import EdgeError
from edgephi.generation.options import SamplingOptions
from edgephi.generation.reply import Reply
from edgephi.images.decoding import load_image
from edgephi.inspection.samples import Sample
from edgephi.model import Model

_MAX_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """The answer to one sample.

    Attributes:
        sample: The request.
        given: The media and the prompt in words, as far as the media could be read.
        reply: None where the sample could not be answered.
        error: Why it could not; None where it could.
    """

    sample: Sample
    given: str
    reply: Reply | None
    error: str | None

    @property
    def right(self) -> bool:
        """Whether the answer is the expected one."""
        return self.reply is not None and self.sample.is_right(self.reply)


def run_samples(model: Model, samples: Sequence[Sample], folder: Path) -> Iterator[SampleResult]:
    """The result of each sample in turn; one that cannot be answered does not end the others.

    Args:
        model: Answers greedily, in 128 tokens at most.
        samples: From `read_samples(folder)`.
        folder: Holds their media.
    """
    for sample in samples:
        yield _run(model, sample, folder)


def _run(model: Model, sample: Sample, folder: Path) -> SampleResult:
    given = repr(sample.prompt) if sample.prompt else "(no text)"
    try:
        media = [(kind, folder / name) for kind, name in sample.media()]
        given = " + ".join([*(_described(path, kind) for kind, path in media), given])
        reply = model.generate(
            sample.messages(),
            images=[path for kind, path in media if kind == "image"],
            audio=[path for kind, path in media if kind == "audio"],
            options=SamplingOptions.greedy(max_new_tokens=_MAX_NEW_TOKENS),
        )
    except EdgeError as error:
        return SampleResult(sample=sample, given=given, reply=None, error=str(error))
    return SampleResult(sample=sample, given=given, reply=reply, error=None)


def _described(path: Path, kind: str) -> str:
    """`nano/samples/sign.png 320x168` or `nano/samples/kitchen.wav 1.8 s`."""
    if kind == "image":
        width, height = load_image(path).size
        return f"{path} {width}x{height}"
    return f"{path} {load_audio(path).duration_s:.1f} s"
