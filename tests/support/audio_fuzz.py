"""Random audio files of every format, and what is in them: the makers know what they wrote."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import soundfile

from support import audio_writers as writers
from support.audio_writers import TRUE, Claims, Pcm

#: What recorders leave in a size of 32 bits when they cannot go back to it.
PLACEHOLDERS = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7F000000, 0x7F000008, 0x7FFFFFFF - 36, 0x80000000, 0x80000024)
PLACEHOLDERS += (0xFFFFFFFF - 36, 2_000_000_000, 1_000_000_000, 0x40000000, 0x10000000, 0xFFFFFFF8)
_LINES = (
    b"data : 10 (should be 5)",
    b"SSND : 99999 (should be 4)",
    b"Data Size : 8 (should be 3)",
    b"RIFFxxxxWAVE" * 3,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file and what must come of it.

    Attributes:
        name: What it is, for messages.
        data: The file.
        seconds: Of audio that is in it.
        tolerance_s: By which codecs may differ.
        outcome: `whole`: read without a word. `noted`: read with a note. `read`: read, with or
            without one. `refused`: truncated. `either`: read to its
            end with a note, or refused.
        missing_s: Seconds that may be missing where the outcome is `either` or `noted`: a frame that was cut.
    """

    name: str
    data: bytes
    seconds: float
    tolerance_s: float = 0.0
    outcome: str = "whole"
    missing_s: float = 0.0


def cases(seed: int, count: int) -> Iterator[Case]:
    """As many files, of all formats in turn."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield _FAMILIES[number % len(_FAMILIES)](rng)


def _pick(rng: np.random.Generator, *items: object) -> object:
    return items[int(rng.integers(len(items)))]


def noise(rng: np.random.Generator, seconds: float, hertz: int, channels: int) -> np.ndarray:
    """float32 [n, channels]; no sample is zero."""
    samples = rng.uniform(0.01, 0.5, (round(seconds * hertz), 1)).astype(np.float32)
    samples *= rng.choice([-1.0, 1.0], samples.shape).astype(np.float32)
    return np.repeat(samples, channels, axis=1)


def _pcm(rng: np.random.Generator) -> Pcm:
    hertz, channels = int(_pick(rng, 16000, 16000, 8000)), int(_pick(rng, 1, 2))
    samples = noise(rng, float(rng.uniform(0.15, 0.5)), hertz, channels)
    return Pcm(samples=samples, hertz=hertz, is_float=bool(rng.integers(2)))


def _chunks(rng: np.random.Generator, kinds: tuple[bytes, ...]) -> tuple[tuple[bytes, bytes], ...]:
    made = []
    for _ in range(int(rng.integers(3))):
        content = rng.bytes(int(rng.integers(1, 300)))
        if rng.random() < 0.5:
            content = bytes(_LINES[int(rng.integers(len(_LINES)))]) * int(_pick(rng, 1, 1, 200))
        made.append((kinds[int(rng.integers(len(kinds)))], content))
    return tuple(made)


_RIFF_KINDS = (b"LIST", b"id3 ", b"bext", b"cue ", b"JUNK", b"iXML")
_AIFF_KINDS = (b"ANNO", b"NAME", b"COMT", b"APPL")
_CAF_KINDS = (b"info", b"free", b"uuid")


def _chunked(rng: np.random.Generator) -> tuple[Pcm, Callable[[Claims], bytes], Claims]:
    """A container with chunks: what is in it, its writer, and honest claims."""
    pcm, kind = _pcm(rng), int(rng.integers(7))
    kinds = _AIFF_KINDS if kind in (3, 4) else _CAF_KINDS if kind == 5 else _RIFF_KINDS
    honest = Claims(before=_chunks(rng, kinds), behind=_chunks(rng, kinds))
    writer: Callable[..., bytes] = (
        writers.wav,
        functools.partial(writers.wav, order=">"),
        functools.partial(writers.wav, is_64=True),
        writers.aiff,
        writers.aiff,
        writers.caf,
        writers.w64,
    )[kind]
    return pcm, functools.partial(writer, pcm), honest


def _seconds(pcm: Pcm) -> float:
    return len(pcm.samples) / pcm.hertz


def intact_chunks(rng: np.random.Generator) -> Case:
    """Right sizes, whatever stands before and behind the samples."""
    pcm, write, honest = _chunked(rng)
    data = write(honest)
    if not honest.behind and rng.random() < 0.3:
        data += bytes(int(rng.integers(1, 5000)))
    if rng.random() < 0.2:
        data = writers.id3v2(rng.bytes(int(rng.integers(1, 200)))) + data
    return Case(name=f"intact {data[:4]!r}", data=data, seconds=_seconds(pcm))


def unfinished_chunks(rng: np.random.Generator) -> Case:
    """Sizes that nobody meant, or of the first block only."""
    pcm, write, honest = _chunked(rng)
    whole, frame = len(pcm.packed("<")), pcm.channels * pcm.width
    if write(TRUE)[:4] == b"caff":
        honest = replace(honest, behind=())  # its format says so: samples of unknown length are the last
    size = int(_pick(rng, *PLACEHOLDERS, frame, frame * int(rng.integers(1, 1000)), whole // 2))
    outer = _pick(rng, None, 0, 36, 0xFFFFFFFF, 0x7FFFFFFF)
    data = write(replace(honest, size=size, outer=outer, behind=() if rng.random() < 0.7 else honest.behind))
    missing_s = 0.0
    if rng.random() < 0.2 and size not in range(1, whole) and not honest.behind:
        cut = int(rng.integers(1, whole // 2))
        data, missing_s = data[:-cut], cut / frame / pcm.hertz
    return Case(
        name=f"unfinished {data[:4]!r} size {size} outer {outer}",
        data=data,
        seconds=_seconds(pcm) - missing_s,
        tolerance_s=5 / pcm.hertz,  # of padding
        outcome="noted",
    )


def slightly_wrong_chunks(rng: np.random.Generator) -> Case:
    """Sizes a little too large."""
    pcm, write, honest = _chunked(rng)
    excess = int(rng.integers(1, round(0.1 * pcm.hertz * pcm.channels * pcm.width)))
    data = write(replace(honest, size=len(pcm.packed("<")) + excess, behind=()))
    return Case(
        name=f"{data[:4]!r} {excess} too large",
        data=data,
        seconds=_seconds(pcm),
        tolerance_s=5 / pcm.hertz,
        outcome="noted",
    )


def cut_chunks(rng: np.random.Generator) -> Case:
    """A download that ended early."""
    pcm, write, honest = _chunked(rng)
    honest = replace(honest, behind=())
    data, audio_bytes = write(honest), len(pcm.packed("<"))
    frame_s = pcm.hertz * pcm.channels * pcm.width
    cut = int(rng.integers(round(0.1 * frame_s) + 140, max(round(0.1 * frame_s) + 141, audio_bytes - 2)))
    return Case(name=f"cut {data[:4]!r} by {cut}", data=data[: -min(cut, audio_bytes)], seconds=0, outcome="refused")


def au_file(rng: np.random.Generator) -> Case:
    """AU of right, unknown and wrong sizes."""
    pcm, order = _pcm(rng), str(_pick(rng, "<", ">"))
    size = _pick(rng, None, None, *PLACEHOLDERS, 400)
    data = writers.au(pcm, Claims(size=size), order=order)
    return Case(name=f"au size {size}", data=data, seconds=_seconds(pcm), outcome="whole" if size is None else "noted")


@functools.cache
def encoded(kind: str, subtype: str, hertz: int, channels: int, number: int) -> tuple[bytes, float]:
    """A compressed file and its seconds."""
    rng = np.random.default_rng([number, hertz, channels])
    seconds = 0.25 + 0.12 * number
    samples = noise(rng, seconds, hertz, channels)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, hertz, format=kind, subtype=subtype)
    return buffer.getvalue(), len(samples) / hertz


def _encoded(rng: np.random.Generator, kind: str, subtype: str, *rates: int) -> tuple[bytes, float]:
    return encoded(kind, subtype, int(_pick(rng, *rates)), int(_pick(rng, 1, 2)), int(rng.integers(4)))


def flac_file(rng: np.random.Generator) -> Case:
    """FLAC with and without a length, cut or whole."""
    data, seconds = _encoded(rng, "FLAC", "PCM_16", 16000, 44100)
    is_streamed = rng.random() < 0.5
    if is_streamed:
        data = data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:]
    front = writers.id3v2(b"x" * 99) if rng.random() < 0.2 else b""
    behind = writers.id3v1() if rng.random() < 0.2 else b""
    outcome, missing_s = ("noted" if is_streamed else "whole"), 0.0
    if rng.random() < 0.3:
        cut = int(rng.integers(100, len(data) // 2))
        data, behind = data[:-cut], b""
        outcome, missing_s = ("either", seconds) if is_streamed else ("refused", 0.0)
    tolerance_s = 0.001
    return Case(
        name=f"flac streamed {is_streamed}",
        data=front + data + behind,
        seconds=seconds,
        tolerance_s=tolerance_s,
        outcome=outcome,
        missing_s=missing_s,
    )


def ogg_chain(rng: np.random.Generator) -> Case:
    """One to four links of Vorbis and Opus."""
    links = [_ogg(rng) for _ in range(int(rng.integers(1, 5)))]
    data, outcome, missing_s = b"".join(link for link, _ in links), "whole", 0.0
    if rng.random() < 0.3:
        pages = writers.ogg_pages(links[-1][0])
        if len(pages) > 3:
            data = data[: -int(rng.integers(1, len(pages[-1])))]
            outcome, missing_s = "noted", links[-1][1]
    return Case(
        name=f"ogg of {len(links)}",
        data=data,
        seconds=sum(seconds for _, seconds in links),
        tolerance_s=0.012 * len(links),
        outcome=outcome,
        missing_s=missing_s,
    )


def _ogg(rng: np.random.Generator) -> tuple[bytes, float]:
    if rng.random() < 0.5:
        return _encoded(rng, "OGG", "OPUS", 48000)
    return _encoded(rng, "OGG", "VORBIS", 16000, 44100)


def without_header_frame(data: bytes) -> bytes:
    """An MP3 without its first frame, which states how many there are."""
    start = data.index(b"\xff", 1)
    while data[start] != 0xFF or data[start + 1 : start + 2] != data[1:2] or start < 30:
        start = data.index(b"\xff", start + 1)
    return data[start:]


def _mp3(rng: np.random.Generator) -> tuple[bytes, float, bool]:
    data, seconds = _encoded(rng, "MP3", "MPEG_LAYER_III", 16000, 16000, 44100)
    is_counted = rng.random() < 0.5
    return (data if is_counted else without_header_frame(data)), seconds, is_counted


def mp3_file(rng: np.random.Generator) -> Case:
    """One to three MP3s, tagged, padded, joined."""
    made = [_mp3(rng) for _ in range(int(rng.integers(1, 4)))]
    data = b""
    for part, _, _ in made:
        tagged = [b"", writers.id3v2(rng.bytes(int(rng.integers(1, 3000)))), bytes(int(rng.integers(1, 3000)))]
        ends = [b"", writers.id3v1(), writers.ape(), bytes(int(rng.integers(1, 3000))), writers.ape() + writers.id3v1()]
        data += tagged[int(rng.integers(3))] + part + ends[int(rng.integers(5))]
    return Case(
        name=f"mp3 of {len(made)}",
        data=data,
        seconds=sum(made_s for _, made_s, _ in made),
        tolerance_s=0.15 * len(made),
        outcome="whole" if len(made) == 1 else "read",
    )


def cut_mp3(rng: np.random.Generator) -> Case:
    """An MP3 that ends early: damage only where its header states the count."""
    data, seconds, is_counted = _mp3(rng)
    cut = int(rng.integers(len(data) // 2, len(data) * 3 // 4))
    return Case(
        name=f"cut mp3 counted {is_counted}",
        data=data[:-cut],
        seconds=seconds,
        tolerance_s=0.11,
        outcome="refused" if is_counted else "either",
        missing_s=seconds * 0.85,
    )


def webm_file(rng: np.random.Generator) -> Case:
    """A browser's recording, live or finished, joined or cut."""
    is_live, parts, total_s = rng.random() < 0.6, [], 0.0
    for _ in range(int(rng.integers(1, 3))):
        opus, seconds = _encoded(rng, "OGG", "OPUS", 48000)
        packets = int(rng.integers(1, 40))
        parts.append(writers.webm(opus, is_live=is_live, cluster_packets=packets, with_video=bool(rng.integers(2))))
        total_s += seconds
    data, outcome, missing_s = b"".join(parts), "whole", 0.0
    if rng.random() < 0.3:
        cut = int(rng.integers(200, len(parts[-1]) // 3))
        data, outcome = data[:-cut], ("either" if is_live else "refused")
        missing_s = total_s * 0.6
    return Case(
        name=f"webm of {len(parts)} live {is_live}",
        data=data,
        seconds=total_s,
        tolerance_s=0.025 * len(parts),
        outcome=outcome,
        missing_s=missing_s,
    )


def joined(rng: np.random.Generator) -> Case:
    """Two or three whole files of any formats, one behind the other."""
    makers = (intact_chunks, au_file, flac_file, ogg_chain, mp3_file)
    parts: list[Case] = []
    while len(parts) < 2 + int(rng.integers(2)):
        made = makers[int(rng.integers(len(makers)))](rng)
        if made.outcome in ("whole", "read"):
            parts.append(made)
    return Case(
        name="joined: " + ", ".join(part.name for part in parts),
        data=b"".join(part.data for part in parts),
        seconds=sum(part.seconds for part in parts),
        tolerance_s=sum(part.tolerance_s for part in parts) + 0.001 * len(parts),
        outcome="read",
    )


_FAMILIES: tuple[Callable[[np.random.Generator], Case], ...] = (
    intact_chunks,
    unfinished_chunks,
    slightly_wrong_chunks,
    cut_chunks,
    au_file,
    flac_file,
    ogg_chain,
    mp3_file,
    cut_mp3,
    webm_file,
    joined,
)
