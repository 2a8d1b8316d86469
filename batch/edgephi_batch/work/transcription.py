"""`edgephi batch transcribe`: one recording of any length for each item."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgephi_batch.items import Item
from edgephi_batch.row import Row
from edgephi_batch.work.media import local_media
from edgephi_batch.work.work import Do, WorkerModel

if TYPE_CHECKING:
    from edgephi import Model, WindowRules
    from edgephi.audio.channel_choice import Channels

_RESULT = ("audio", "language", "duration_s", "complete", "notes", "text", "segments")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionWork:
    """Transcribes each item's recording.

    Attributes:
        model: In each worker.
        rules: Where recordings are cut.
        channel: `mix`, the number of one channel from 1, or `all`.
        language: Of what is spoken; goes into the rows.
        translate_to: The language to write in instead.
    """

    model: WorkerModel
    rules: WindowRules
    channel: Channels = "mix"
    language: str | None = None
    translate_to: str | None = None

    def open(self) -> Do[Item]:
        """Load the model.

        Raises:
            ConfigError: The folder has no speech.
            EdgeError: As `Model.load`.
        """
        from edgephi.prompt.routing import choose_route  # noqa: PLC0415 - only workers need it

        model = self.model.load()
        choose_route(model.manifest, num_images=0, num_audio=1)
        return lambda item, should_stop: self._transcribe(model, item, should_stop)

    def failed(self, item: Item, error: str, elapsed_s: float) -> Row:
        """A row with the error and no result."""
        result = {**dict.fromkeys(_RESULT), "audio": item.audio[0].name}
        return Row.of({"id": item.id, "error": error, "elapsed_s": round(elapsed_s, 3), **result})

    def _transcribe(self, model: Model, item: Item, should_stop: Callable[[], bool]) -> Row:
        """The row has the fields of `edgephi transcribe --json`; of a damaged recording also what came before."""
        from edgephi.transcription.formats import as_json  # noqa: PLC0415 - only workers need it

        with local_media(item.audio) as (path,):
            transcript = model.transcribe(
                path,
                language=self.language,
                translate_to=self.translate_to,
                channel=self.channel,
                rules=self.rules,
                should_stop=should_stop,
            )
        fields = as_json(dataclasses.replace(transcript, file=item.audio[0].name), prompt="")
        result = {name: fields["file" if name == "audio" else name] for name in _RESULT}
        return Row.of({"id": item.id, "error": fields["error"], "elapsed_s": fields["elapsed_s"], **result})
