"""`edgephi captions`: what is said, written down while it is said."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from edgephi.cli.transcripts.language import translate_option
from edgephi.console import interruption
from edgephi.console.commands import ModelCommand, in_group
from edgephi.console.ending import say
from edgephi.console.options import ModelSource, model_options
from edgephi.console.packing import Command, packed
from edgephi.console.progress import ProgressLine
from edgephi.console.report import note_line
from edgephi.console.spool import STDIN, called, check_stdin
from edgephi.transcription.prompts import prompt_for

if TYPE_CHECKING:
    from edgephi.audio.channel_choice import Channel
    from edgephi.cli.live.feed import LiveSource
    from edgephi.model import Model
    from edgephi.transcription.live.session import LiveOptions

_ENCODINGS = ("s16le", "s24le", "s32le", "f32le", "f64le", "u8", "mulaw", "alaw")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """The options of the command beside those of every command with a model."""

    device: str | None
    rate: int | None
    encoding: str | None
    channels: int | None
    channel: Channel
    window_s: float
    pause_s: float
    has_partials: bool
    translate_to: str | None
    as_json: bool


def _channel_given(context: click.Context, option: click.Parameter, given: str) -> Channel:
    from edgephi.console.channel import channel_given

    channel = channel_given(context, option, given)
    if channel == "all":
        raise click.BadParameter("'all' has no meaning for live audio; give a number from 1, or `mix`", param=option)
    return channel


_OPTIONS = (
    *in_group(
        "Audio",
        [
            click.option(
                "--device",
                metavar="NAME|N",
                help="The microphone, by a part of its name or its number as `python -m sounddevice` lists them.  "
                "[default: the system's]",
            ),
            click.option(
                "--rate",
                type=int,
                metavar="HZ",
                help="What comes through stdin is raw samples at this rate, not a WAV.",
            ),
            click.option(
                "--encoding",
                type=click.Choice(_ENCODINGS),
                help="Of raw samples, by ffmpeg's names.  [default: s16le]",
            ),
            click.option("--channels", type=click.IntRange(1, 32), metavar="N", help="Of raw samples.  [default: 1]"),
            click.option(
                "--channel",
                metavar="N|mix",
                default="mix",
                show_default=True,
                callback=_channel_given,
                help="Which channel of stdin: a number from 1, or the average of all.",
            ),
        ],
    ),
    *in_group(
        "Segment",
        [
            click.option(
                "--window-s",
                type=click.FloatRange(2, 30),
                default=20.0,
                show_default=True,
                help="Speech without a pause is cut after so many seconds.",
            ),
            click.option(
                "--pause-s",
                type=click.FloatRange(min=0.3),
                default=0.6,
                show_default=True,
                help="A pause this long always ends a caption.",
            ),
            click.option(
                "--partials/--no-partials",
                "has_partials",
                default=True,
                show_default=True,
                help="Show what is said before its pause, while the machine keeps up.",
            ),
        ],
    ),
    *in_group(
        "Output",
        [
            translate_option,
            click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout, nothing else."),
        ],
    ),
)


def caption_options(command: Command) -> Command:
    """Adds the options; passes them as `options: CaptionOptions`."""
    return packed(command, CaptionOptions, "options", _OPTIONS)


@click.command(cls=ModelCommand)
@partial(model_options, device_flag="--model-device")
@click.argument("audio", required=False, metavar="[-]")
@caption_options
def captions(source: ModelSource, audio: str | None, options: CaptionOptions) -> None:
    """Write down what is said into the microphone, while it is said; `-` reads a WAV or raw samples from stdin.

    Each pause ends a caption, which becomes a line. On a terminal the one that goes on is shown below, rewritten as
    words come: those that are settled stay as they are, the dim ones behind them may still change. That costs the model
    more readings, so it is done only while the machine keeps up. Into a file or a pipe go the captions that have ended,
    and they are those that `edgephi transcribe` with the same --window-s and --pause-s writes of the same audio.

    If the machine is too slow, stdin waits; of a microphone the oldest speech is left out once two minutes of it wait,
    and that is reported. Ctrl-C, SIGTERM and SIGHUP end with what is complete.

    The microphone needs: pip install "edgephi[microphone]".

    \b
    JSON, a line for each:
      {"type": "partial", number (of the caption, from 0), start_s, settled, tail, lag_s}
      {"type": "final", number, start_s, end_s, text, segments (as of `transcribe`), lag_s}
      {"type": "lost", number, start_s, end_s}
    lag_s is the audio that came after the last word of it until the line was written.

    \b
    Examples:
      edgephi captions phi4mm
      edgephi captions phi4mm --device "USB" --translate-to en
      edgephi captions phi4mm - --rate 16000 --encoding s16le < /run/intercom.pipe
      curl https://example.org/radio.wav | edgephi captions phi4mm - --json
    """
    opened = _opened(audio, options)
    live = _live_options(options, can_wait=opened.can_wait)
    with ProgressLine("loading") as progress, source.load(with_adapters=True, on_stage=progress.observe) as model:
        progress.clear()
        click.get_current_context().exit(_run(model, opened, live, options.as_json))


def _opened(audio: str | None, options: CaptionOptions) -> LiveSource:
    """The source, before a model is loaded.

    Raises:
        click.UsageError: An argument or options that do not go together.
        EdgeError: It cannot be opened.
    """
    raw = {"--rate": options.rate, "--encoding": options.encoding, "--channels": options.channels}
    if audio is None:
        given = [name for name, value in raw.items() if value is not None]
        given += ["--channel"] if options.channel != "mix" else []
        if given:
            raise click.UsageError(f"{given[0]} is about stdin; give `-` to read it instead of the microphone")
        from edgephi.cli.live.microphone import Microphone

        return Microphone(options.device)
    if audio != STDIN:
        raise click.UsageError(f"{audio!r} is neither a microphone nor `-`; a file is read by `edgephi transcribe`")
    if options.device is not None:
        raise click.UsageError("--device is a microphone; leave out `-` to use it")
    if options.rate is None and (options.encoding is not None or options.channels is not None):
        raise click.UsageError("raw samples need --rate too; a WAV says all of it by itself")
    check_stdin((STDIN,))
    from edgephi.audio.pcm_stream import PcmFormat
    from edgephi.cli.live.pipe import PipedAudio

    form = None
    if options.rate is not None:
        form = PcmFormat(
            encoding=options.encoding or "s16le", sample_rate_hz=options.rate, num_channels=options.channels or 1
        )
    return PipedAudio(sys.stdin.buffer, called(STDIN), form, options.channel)


def _live_options(options: CaptionOptions, *, can_wait: bool) -> LiveOptions:
    from edgephi.transcription.live.session import MOST_WAITING_S, LiveOptions
    from edgephi.transcription.windows import WindowRules

    return LiveOptions(
        prompt=prompt_for(options.translate_to),
        rules=WindowRules(window_s=options.window_s, pause_s=options.pause_s),
        has_partials=options.has_partials,
        most_waiting_s=None if can_wait else MOST_WAITING_S,
    )


def _run(model: Model, source: LiveSource, options: LiveOptions, as_json: bool) -> int:
    """Write captions until the audio ends or a signal comes; the exit code.

    Raises:
        EdgeError: The source or the model failed; what was complete before is written.
    """
    from edgephi.cli.live.caption_lines import caption_lines
    from edgephi.cli.live.feed import Feed
    from edgephi.prompt.routing import choose_route
    from edgephi.transcription.live.captions import FinalCaption, LostCaption
    from edgephi.transcription.live.session import LiveControl, LiveTranscription

    choose_route(model.manifest, num_images=0, num_audio=1, adapter="auto")  # says so if the folder has no speech
    lines, count, end_s = caption_lines(as_json), 0, 0.0
    with interruption.noted() as should_stop:
        session = LiveTranscription(model, source.sample_rate_hz, options, LiveControl(should_stop=should_stop))
        if not source.can_wait:
            say("listening; Ctrl-C ends")
        try:
            with Feed(source, session) as feed, closing(session.captions()) as made:
                for caption in made:
                    if isinstance(caption, LostCaption) and caption.error is not None:
                        raise caption.error
                    lines.write(caption)
                    if isinstance(caption, FinalCaption):
                        count, end_s = count + 1, caption.end_s
        finally:
            lines.close()
        if should_stop():
            say(f"interrupted: done up to {end_s:.1f} s · {_counted(count)}")
            return interruption.answered()
    for note in source.notes():
        say(note_line(note))
    if feed.error is not None:
        raise feed.error
    say(f"{session.reached_s:.1f} s of audio · {_counted(count)}")
    return 0


def _counted(count: int) -> str:
    return f"{count:,} caption{'s' * (count != 1)}" if count else "no speech found"
