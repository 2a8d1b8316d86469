"""The request behind `Model.transcribe`."""

from __future__ import annotations

from collections.abc import Callable

from edgephi.audio.channel_choice import MIX, Channels
from edgephi.audio.decoding import AudioSource
from edgephi.base.cancellation import never
from edgephi.transcription.prompts import check_language, prompt_for
from edgephi.transcription.transcriber import TranscriptionOptions
from edgephi.transcription.transcript import Transcript
from edgephi.transcription.whole import OnProgress, TranscriptModel, ignore_progress, transcribe_whole
from edgephi.transcription.windows import WindowRules


class TranscriptRequests:
    """Transcripts, for a model that answers requests."""

    def transcribe(  # noqa: PLR0913 - every choice about a transcript, by name
        self: TranscriptModel,
        source: AudioSource,
        *,
        language: str | None = None,
        translate_to: str | None = None,
        channel: Channels = MIX,
        rules: WindowRules | None = None,
        on_progress: OnProgress = ignore_progress,
        should_stop: Callable[[], bool] = never,
    ) -> Transcript:
        """Write down a recording of any length, as `edgephi transcribe` does.

        Args:
            source: A path, which is read as it is used, bytes of a file, or `(samples [n] or [n, channels], hertz)`.
            language: What is spoken, such as `en` or `English`; kept in the transcript, not asked of the model.
            translate_to: Write it in this language instead of its own.
            channel: `mix`, the number of one channel from 1, or `all`: each on its own, as in a recorded call.
            rules: Where to cut; None for the usual ones.
            on_progress: Called with every segment as it is done.
            should_stop: Called between steps; True ends the transcript, which is then not complete.

        Returns:
            The transcript. Where a recording is damaged further on, it holds what came before and the `error`.

        Raises:
            ConfigError: A source or an argument that cannot be used, or a folder without speech.
            EdgeError: As `stream`, before the first segment.
        """
        check_language(language, "language")
        check_language(translate_to, "translate_to")
        options = TranscriptionOptions(prompt=prompt_for(translate_to), rules=rules or WindowRules(), channel=channel)
        return transcribe_whole(
            self, source, options, language=language, on_progress=on_progress, should_stop=should_stop
        )
