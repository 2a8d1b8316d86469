"""From what a request gives to what the decoder reads: the prompt, its media, their rows, one sequence.

Owns the order of that work, and the rows of media that are kept between requests. Knows nothing about whose turn it
is, nor how an answer is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edgephi.audio.features import AudioFeatures
from edgephi.base.cancellation import Stopped, ask
from edgephi.base.log import logger
from edgephi.base.stage import EncodingProgress
from edgephi.bundle.bundle import Bundle
from edgephi.decoder.decoder import Decoder
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.generation.control import RequestControl
from edgephi.generation.timing import StageTimer
from edgephi.images.features import ImageFeatures
from edgephi.media.embedding_cache import EmbeddingCache, LazyEmbedding
from edgephi.media.processor import MediaProcessor
from edgephi.ort.session import DeviceOptions
from edgephi.prompt.input_sequence import InputSequence, MediaEmbedding, check_ids
from edgephi.prompt.media_placement import check_media_lists
from edgephi.prompt.message_tools import ToolList
from edgephi.prompt.messages import Messages, MessageTrust
from edgephi.prompt.prompt import Prompt, media_slots
from edgephi.prompt.prompt_files import open_prompts
from edgephi.prompt.routing import AdapterChoice, MissingModalityError, Route, choose_route, missing_modality
from edgephi.prompt.tokenizer import Tokenizer
from edgephi.sources.media_content import media_digest

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillOptions:
    """How a request is read.

    Attributes:
        adapter: `auto` follows the model's rule.
        max_crops: Most crops of each image; None for the model's own number.
        fresh: Read every position again, whatever earlier requests left.
        control: `should_stop` is called between steps of the work, and True ends it with Stopped.
    """

    adapter: AdapterChoice
    max_crops: int | None = None
    fresh: bool = False
    control: RequestControl = field(default_factory=RequestControl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What goes with a conversation.

    Attributes:
        tools: Offered to the model, if no message offers them.
        outside: How far the messages are trusted.
    """

    tools: ToolList | None = None
    outside: MessageTrust = field(default_factory=MessageTrust)


_TRUSTED = Terms()


class Prefill:
    """Makes the decoder ready for requests of one model folder."""

    def __init__(self, bundle: Bundle, options: DeviceOptions, tokenizer: Tokenizer, media_bytes: int) -> None:
        self._manifest = bundle.manifest
        self._prompts = open_prompts(bundle, tokenizer)
        self._table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
        self._media_processor = MediaProcessor(bundle, options)
        self._media = EmbeddingCache(media_bytes)

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        return len(self._table)

    @property
    def kept_bytes(self) -> int:
        """Of the rows of media that earlier requests left."""
        return self._media.num_bytes

    def close(self) -> None:
        """Free the encoders. A request with media cannot be read after that."""
        self._media_processor.close()

    def forget(self) -> None:
        """Forget the rows of earlier requests' media."""
        self._media.clear()

    def prompt(
        self,
        messages: Messages,
        images: Sequence[Any],
        audio: Sequence[Any],
        timer: StageTimer,
        terms: Terms = _TRUSTED,
    ) -> Prompt:
        """Token ids and media of a conversation; what `stream` of `Model` takes.

        Raises:
            ConfigError: Messages that cannot be used, or that do not pair up with their media.
        """
        with timer.measure("preprocess"):
            try:
                return self._prompts.build(
                    messages, images=images, audio=audio, tools=terms.tools, outside=terms.outside
                )
            except MissingModalityError as error:
                raise missing_modality(error.name, self._manifest) from None

    def read(self, decoder: Decoder, prompt: Prompt, handling: PrefillOptions) -> tuple[InputSequence, Route]:
        """The decoder's input, with the media encoded that must be, and the decoder made ready for it.

        Raises:
            ConfigError: Ids outside the vocabulary, media that cannot be used, a mode that the folder lacks.
            CapacityError: More positions than the context has.
            ArtifactError: A graph is damaged.
            Stopped: `should_stop` returned True.
        """
        route = choose_route(
            self._manifest, num_images=len(prompt.images), num_audio=len(prompt.audio), adapter=handling.adapter
        )
        control = handling.control
        with control.timer.measure("preprocess"):
            check_ids(prompt.token_ids, len(self._table))
            slots = media_slots(prompt, self._manifest.tokens)
            items = self._prepared(decoder, prompt, handling)
            steps = EncodingProgress(control.stages)
            lazy = [self._rows(item, route, control.should_stop, steps) for item in items]
            sequence = InputSequence(self._table, prompt.token_ids, dict(zip(slots, lazy, strict=True)))

        held = control.timer.cached_tokens = decoder.begin(sequence, route.adapter, fresh=handling.fresh)
        self._prepare(decoder, route, control)
        with control.timer.measure("encode"):
            self._encode(sequence, held, items, lazy, steps)
        facts = (len(sequence), held, len(prompt.images), len(prompt.audio), route.adapter)
        _log.info("request of %d tokens, %d cached, %d images, %d audio, adapter %s", *facts)
        return sequence, route

    def _encode(
        self,
        sequence: InputSequence,
        held: int,
        items: Sequence[ImageFeatures | AudioFeatures],
        lazy: Sequence[LazyEmbedding],
        steps: EncodingProgress,
    ) -> None:
        unread = sequence.media_after(held)
        steps.expect(
            sum(
                self._media_processor.num_steps(item)
                for item, rows in zip(items, lazy, strict=True)
                if _is_due(rows, unread)
            )
        )
        for rows in unread:
            rows.rows()
        steps.finish()

    def encode_ahead(self, audio: Sequence[Any], handling: PrefillOptions) -> list[AudioFeatures]:
        """Encode clips of a later request while there is room for their rows; see `Model.encode_ahead`."""
        check_media_lists((), audio)
        route = choose_route(self._manifest, num_images=0, num_audio=len(audio), adapter=handling.adapter)
        hidden_size = self._manifest.decoder.hidden_size
        clips = [self._media_processor.audio(source) for source in audio]
        control = handling.control
        with suppress(Stopped):
            for clip in clips:
                if self._media.has_room(clip.num_rows, hidden_size):
                    self._rows(clip, route, control.should_stop, EncodingProgress(control.stages)).rows()
        return clips

    def _prepare(self, decoder: Decoder, route: Route, control: RequestControl) -> None:
        """The decoder's graph for the route, loaded if need be."""
        if decoder.serves(route.adapter):
            decoder.prepare(route.adapter, control.should_stop)
            return
        control.stages.report("load", 0, 1)
        with control.timer.measure("load"):
            decoder.prepare(route.adapter, control.should_stop)
        control.stages.report("load", 1, 1)

    def _prepared(
        self, decoder: Decoder, prompt: Prompt, handling: PrefillOptions
    ) -> list[ImageFeatures | AudioFeatures]:
        """All media read, the next only while there is room for a row of each that is left."""
        positions, items = len(prompt.token_ids), list[ImageFeatures | AudioFeatures]()
        left = len(prompt.images) + len(prompt.audio)
        decoder.check_length(positions, is_least=left > 0)
        handling.control.stages.report("preprocess", 0, left)
        for item in self._media_processor.prepare_each(prompt.images, prompt.audio, handling.max_crops):
            items.append(item)
            handling.control.stages.report("preprocess", len(items), left)
            ask(handling.control.should_stop)
            positions += item.num_rows - 1
            decoder.check_length(positions, is_least=len(items) < left)
        return items

    def _rows(
        self,
        item: ImageFeatures | AudioFeatures,
        route: Route,
        should_stop: Callable[[], bool],
        steps: EncodingProgress,
    ) -> LazyEmbedding:
        """The rows of an image or clip, encoded when the decoder must read them."""
        projection = route.projection if isinstance(item, AudioFeatures) else None
        encode = partial(self._media_processor.encode, item, projection, should_stop, steps.begin_next)
        return LazyEmbedding(item.num_rows, media_digest(item.content, projection), encode, self._media, should_stop)


def _is_due(rows: LazyEmbedding, unread: Sequence[MediaEmbedding]) -> bool:
    return not rows.is_known and any(rows is other for other in unread)
