"""From a request to the decoder's input: the prompt, its media, their embeddings, one sequence. It opens no decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from edgephi.audio.features import AudioFeatures, AudioInput
from edgephi.base.cancellation import Stopped, ask
from edgephi.base.stage import EncodingProgress
from edgephi.bundle.bundle import Bundle
from edgephi.cache.context_limit import ContextLimit
from edgephi.decoder.embedding_table import EmbeddingTable
from edgephi.generation.control import RequestControl
from edgephi.generation.timing import StageTimer
from edgephi.images.features import ImageFeatures
from edgephi.media.embedding_cache import EmbeddingCache, LazyEmbedding
from edgephi.media.processor import MediaProcessor
from edgephi.model_options import ModelOptions
from edgephi.prompt.input_sequence import InputSequence, MediaEmbedding, check_ids
from edgephi.prompt.media_placement import check_media_lists
from edgephi.prompt.prompt import Prompt, PromptBuilder, media_slots
from edgephi.prompt.routing import AdapterChoice, MissingModalityError, Route, choose_route, missing_modality
from edgephi.request import Request
from edgephi.sources.media_content import media_digest


@dataclass(frozen=True, slots=True)
class LazyMedia:
    """One image or audio input of a request, its embedding, and the encoder's views or windows that it takes."""

    embedding: LazyEmbedding
    num_steps: int


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt that the decoder can compute.

    Attributes:
        sequence: Its rows; those of media are encoded when they are first needed.
        route: Which adapter and audio projection serve it.
        media: In the order of the prompt.
        progress: Of the encoders.
    """

    sequence: InputSequence
    route: Route
    media: Sequence[LazyMedia]
    progress: EncodingProgress

    def encode(self, num_cached: int) -> None:
        """Encode every image and audio input with rows at `num_cached` or later.

        Raises:
            ArtifactError: An encoder's graph is damaged.
            Stopped: The request was stopped.
        """
        wanted = self.sequence.media_after(num_cached)
        for item in self.media:
            if _is_due(item.embedding, wanted):
                self.progress.expect(item.num_steps, item.embedding.num_parts)
        for embedding in wanted:
            embedding.rows()
        self.progress.finish()


class Prefill:
    """Prepares the requests of one model folder.

    Attributes:
        embeddings: Of the media of earlier requests.
    """

    def __init__(self, bundle: Bundle, options: ModelOptions, prompts: PromptBuilder) -> None:
        self._manifest = bundle.manifest
        self._prompts = prompts
        self._table = EmbeddingTable(bundle, bundle.manifest.decoder.embedding)
        self._media_processor = MediaProcessor(bundle, options.device_options)
        self.embeddings = EmbeddingCache(options.media_bytes)

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        return len(self._table)

    def close(self) -> None:
        """Free the encoders. A request with media cannot be prepared after that."""
        self._media_processor.close()

    def prompt(self, request: Request, timer: StageTimer) -> Prompt:
        """Token ids and media of a request.

        Raises:
            ConfigError: Messages that the folder's template has no place for, or media that it has no encoder for.
        """
        with timer.measure("preprocess"):
            try:
                prompt = self._prompts.build(request.turns, request.tool_use.tools)
            except MissingModalityError as error:
                raise missing_modality(error.name, self._manifest) from None
        return replace(prompt, adapter=request.adapter, max_crops=request.crop_limit)

    def read(self, prompt: Prompt, limit: ContextLimit, control: RequestControl) -> Prompt:
        """The prompt with features in place of the sources of media; arguments and errors are those of `prepare`."""
        self._route(prompt)
        with control.timer.measure("preprocess"):
            self._slots(prompt)
            features = list(self._features(prompt, limit, control))
        images = tuple(item for item in features if isinstance(item, ImageFeatures))
        audio = tuple(item for item in features if isinstance(item, AudioFeatures))
        return replace(prompt, images=images, audio=audio)

    def prepare(self, prompt: Prompt, limit: ContextLimit, control: RequestControl) -> PreparedPrompt:
        """The decoder's input for a prompt. No encoder runs before `PreparedPrompt.encode`.

        Args:
            prompt: The prompt.
            limit: How long it may be, checked before and while media are read.
            control: Of the request.

        Raises:
            ConfigError: Ids outside the vocabulary, media that cannot be used, a mode that the folder lacks.
            CapacityError: More positions than the context has.
            Stopped: `should_stop` returned True.
        """
        route = self._route(prompt)
        with control.timer.measure("preprocess"):
            slots, progress = self._slots(prompt), EncodingProgress(control.stages)
            features = list(self._features(prompt, limit, control))
            control.timer.image_tokens = sum(item.num_rows for item in features if isinstance(item, ImageFeatures))
            control.timer.audio_tokens = sum(item.num_rows for item in features if isinstance(item, AudioFeatures))
            media = [
                LazyMedia(
                    self._embedding(item, route, control.should_stop, progress), self._media_processor.num_steps(item)
                )
                for item in features
            ]
            embeddings = dict(zip(slots, (item.embedding for item in media), strict=True))
            sequence = InputSequence(self._table, prompt.token_ids, embeddings)
        return PreparedPrompt(sequence, route, media, progress)

    def encode_ahead(
        self, audio: Sequence[AudioInput], adapter: AdapterChoice, control: RequestControl
    ) -> list[AudioFeatures]:
        """Encode audio of a later request while there is room for its embeddings; see `Model.encode_ahead`."""
        check_media_lists((), audio)
        route = choose_route(self._manifest, num_images=0, num_audio=len(audio), adapter=adapter)
        hidden_size = self._manifest.decoder.hidden_size
        features = [self._media_processor.audio(source) for source in audio]
        with suppress(Stopped):
            for item in features:
                if self.embeddings.has_room(item.num_rows, hidden_size):
                    self._embedding(item, route, control.should_stop, EncodingProgress(control.stages)).rows()
        return features

    def _route(self, prompt: Prompt) -> Route:
        num_images, num_audio = len(prompt.images), len(prompt.audio)
        return choose_route(self._manifest, num_images=num_images, num_audio=num_audio, adapter=prompt.adapter)

    def _slots(self, prompt: Prompt) -> list[int]:
        """Places of the media in the prompt's ids, which are checked."""
        check_ids(prompt.token_ids, len(self._table))
        return media_slots(prompt, self._manifest.tokens)

    def _features(
        self, prompt: Prompt, limit: ContextLimit, control: RequestControl
    ) -> Iterator[ImageFeatures | AudioFeatures]:
        """All media as their encoders take them, the next only while there is room for a row of each that is left."""
        positions = len(prompt.token_ids)
        total = len(prompt.images) + len(prompt.audio)
        limit.check(positions, is_least=total > 0)
        control.stages.report("preprocess", 0, total)
        features = self._media_processor.prepare_each(prompt.images, prompt.audio, prompt.max_crops)
        for count, item in enumerate(features, start=1):
            control.stages.report("preprocess", count, total)
            ask(control.should_stop)
            positions += item.num_rows - 1
            limit.check(positions, is_least=count < total)
            yield item

    def _embedding(
        self,
        item: ImageFeatures | AudioFeatures,
        route: Route,
        should_stop: Callable[[], bool],
        progress: EncodingProgress,
    ) -> LazyEmbedding:
        """The embedding of an image or audio input, encoded when the decoder needs it."""
        projection = route.projection if isinstance(item, AudioFeatures) else None
        encode = partial(self._media_processor.encode, item, projection, should_stop, progress.begin_next)
        return LazyEmbedding(
            item.num_rows, media_digest(item.content, projection), encode, self.embeddings, should_stop
        )


def _is_due(embedding: LazyEmbedding, wanted: Sequence[MediaEmbedding]) -> bool:
    return not embedding.is_known and any(embedding is other for other in wanted)
