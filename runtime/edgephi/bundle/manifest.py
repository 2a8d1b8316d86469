"""The content of `edgephi.json`: the frozen dataclasses of a model folder's description."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from edgephi.base.errors import ArtifactError
from edgephi.base.json_file import decode, parse_json
from edgephi.base.numbers import check_positive
from edgephi.bundle.fidelity_info import FidelityInfo
from edgephi.bundle.manifest_checksum import CHECKSUM, check_checksum, with_checksum
from edgephi.bundle.prefill_info import DerivedPrefillInfo
from edgephi.bundle.rope_info import RopeInfo
from edgephi.bundle.tensor_ref import TableInfo, TensorRef
from edgephi.bundle.text_info import EndInfo, GenerationDefaults, TemplateName, TokenInfo

__all__ = [
    "ADAPTER_IDS", "CACHE_KINDS", "ONE_PURPOSE", "PROJECTION_IDS", "READ_VERSIONS", "SCHEMA_VERSION", "Adapter",
    "AdapterInfo", "AdapterMode", "AdaptersInfo", "CacheChoice", "CacheDtype", "CacheKind", "DecoderInfo",
    "EncoderName", "EndInfo", "FileInfo", "FloatName", "GenerationDefaults", "Int8CacheInfo", "Manifest",
    "MergedAdapterInfo", "RecipeInfo", "RopeInfo", "RuleInfo", "SourceInfo", "SpeechInfo", "TemplateName",
    "TokenInfo", "VisionInfo",
]  # fmt: skip

SCHEMA_VERSION = 3
#: What is read: version 2 lists no constants of graphs in `tensors.json`.
READ_VERSIONS = (2, SCHEMA_VERSION)
_UPGRADE = "pip install --upgrade edgephi"

#: The recipe for folders of one purpose: 2 bits, and a correction that takes in their error.
ONE_PURPOSE = "int2-absorbed"
#: An encoder. The LoRA and the audio projection that were trained with it have its name.
EncoderName = Literal["vision", "speech"]
#: The LoRA that serves a request, if any.
Adapter = Literal["none", "vision", "speech"]
AdapterMode = Literal["routed", "speech", "vision", "none"]
FloatName = Literal["float32", "float16"]
CacheDtype = Literal["float32", "float16", "int8"]
#: What keys and values are kept in; `float` is what the decoder computes with.
CacheKind = Literal["float", "int8"]
CACHE_KINDS: tuple[CacheKind, ...] = get_args(CacheKind)
#: What may be asked for; `auto` is int8 where the folder has graphs for it, else float.
CacheChoice = Literal["auto", "float", "int8"]

#: Value of the decoder's `adapter` input for each adapter.
ADAPTER_IDS: dict[Adapter, int] = {"none": 0, "vision": 1, "speech": 2}
#: Value of the speech encoder's `projection` input for each audio projection.
PROJECTION_IDS: dict[EncoderName, int] = {"speech": 0, "vision": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedAdapterInfo:
    """A PEFT adapter of the user's that was merged into the base's weights: its name and its weight file's hash."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """Where the weights came from; `merged_adapter` is None where they are the checkpoint's own."""

    id: str
    revision: str | None
    model_type: str
    config_sha256: str
    merged_adapter: MergedAdapterInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """Weights whose names match the glob `pattern` are stored in `format`, such as `float32` or `int4:32`."""

    pattern: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeInfo:
    """How weights are stored.

    Attributes:
        name: What `--recipe` called it.
        method: How codes were chosen, such as `rtn` or `search`; None where there are none.
        activations: What the graphs compute with.
        rules: The format of each weight; the last rule that matches its name counts.
        absorbed: The routed adapters were solved anew, so that each takes in the error of the decoder's base.
        correction_rank: Rank of the correction of that error where no adapter is routed; 0 for none.
    """

    name: str
    method: str | None
    activations: FloatName
    rules: tuple[RuleInfo, ...]
    absorbed: bool = False
    correction_rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """One LoRA of the checkpoint: `y = W x + scale * B (A x)`."""

    name: EncoderName
    rank: int
    scale: float

    def __post_init__(self) -> None:
        check_positive(rank=self.rank, magnitude_of_scale=abs(self.scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersInfo:
    """How the adapters are built into the decoder.

    Attributes:
        mode: `routed`: chosen per request by the decoder's `adapter` input; `speech` or `vision`: merged into the
            base weights, always on; `none`: left out.
        available: The adapters present in the graph.
    """

    mode: AdapterMode
    available: tuple[AdapterInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8CacheInfo:
    """The decoder's graphs once more, over the same weights, with keys and values in int8.

    A value is its code times the scale of its channel. The scales were measured when the folder was made.

    Attributes:
        graph: Beside `DecoderInfo.graph`.
        text_graph: Beside `DecoderInfo.text_graph`; None where that is.
        key_scales: float32 [num_layers, num_kv_heads, head_size], of keys after their rotation.
        value_scales: The same of values.
        prefill_graph: Beside `DecoderInfo.prefill_graph`; None where that is.
    """

    graph: str
    text_graph: str | None
    key_scales: TensorRef
    value_scales: TensorRef
    prefill_graph: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderInfo:
    """The language model's graphs and sizes.

    Attributes:
        graph: The graph with every adapter of the bundle.
        text_graph: The same without adapters, over the same weights; None where `graph` has nothing to leave out.
            ONNX Runtime reads and packs the weights of branches when it loads a graph, so text alone needs its own.
        dtype: Of inputs_embeds, the caches, the rotary tables and the logits.
        embedding: [vocab_size, hidden_size].
        int8_cache: The graphs with keys and values in int8; None where the folder was made without them.
        prefill_graph: Fills the same caches with many positions, over weights of its own that such passes are fast
            with, every adapter included; gives no logits. None where the folder was made without it.
    """

    graph: str
    text_graph: str | None
    dtype: FloatName
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    embedding: TableInfo
    int8_cache: Int8CacheInfo | None = None
    prefill_graph: str | None = None

    def __post_init__(self) -> None:
        check_positive(
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_size=self.head_size,
            vocab_size=self.vocab_size,
        )
        self.embedding.check_shape(self.vocab_size, self.hidden_size)
        if self.int8_cache is not None:
            self._check_int8_cache(self.int8_cache)

    @property
    def graphs(self) -> tuple[str, ...]:
        """Every graph file of the decoder."""
        names = [self.graph, self.text_graph, self.prefill_graph]
        if self.int8_cache is not None:
            names += [self.int8_cache.graph, self.int8_cache.text_graph, self.int8_cache.prefill_graph]
        return tuple(name for name in names if name is not None)

    def pair(self, kind: CacheKind) -> DecoderInfo | Int8CacheInfo:
        """The graphs for keys and values of a kind; where the folder has none in int8, those in float."""
        return self.int8_cache if kind == "int8" and self.int8_cache is not None else self

    def cache_dtype(self, kind: CacheKind) -> CacheDtype:
        """Of keys and values, with the graphs of `pair`."""
        return self.dtype if self.pair(kind) is self else "int8"

    @property
    def cache_scales(self) -> tuple[TensorRef, ...]:
        """The scales of keys and values; empty without an int8 cache."""
        return () if self.int8_cache is None else (self.int8_cache.key_scales, self.int8_cache.value_scales)

    def _check_int8_cache(self, info: Int8CacheInfo) -> None:
        if self.dtype != "float32":
            raise ValueError(f"int8_cache needs a decoder in float32; this one computes in {self.dtype}")
        for kind in ("text", "prefill"):
            if (getattr(info, f"{kind}_graph") is None) != (getattr(self, f"{kind}_graph") is None):
                raise ValueError(f"int8_cache and the decoder must both have a graph for {kind}, or neither")
        shape = (self.num_layers, self.num_kv_heads, self.head_size)
        for name in ("key_scales", "value_scales"):
            _check_shape(name, getattr(info, name), shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionInfo:
    """The image tower's graph and the rules of its crops. Separators are [hidden_size], already projected."""

    graph: str
    crop_size: int
    patch_size: int
    max_crops: int
    row_separator: TensorRef
    global_separator: TensorRef

    def __post_init__(self) -> None:
        check_positive(crop_size=self.crop_size, patch_size=self.patch_size, max_crops=self.max_crops)
        if self.rows_per_side < 1:
            raise ValueError(f"crop_size {self.crop_size} holds fewer than 2 patches of {self.patch_size}")

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of a crop."""
        return self.crop_size // self.patch_size

    @property
    def rows_per_side(self) -> int:
        """Embedding rows along one side of a crop, after 2x2 pooling."""
        return self.patches_per_side // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechInfo:
    """The audio tower's graph and sizes.

    Attributes:
        graph: Path of the ONNX file.
        num_mels: Mel bands per frame.
        time_reduction: 10 ms frames per embedding row.
        window_rows: Rows the conformer sees at once; longer audio is cut into windows of this many.
        projections: Output projections in the graph, by request kind.
    """

    graph: str
    num_mels: int
    time_reduction: int
    window_rows: int
    projections: tuple[EncoderName, ...]

    def __post_init__(self) -> None:
        check_positive(num_mels=self.num_mels, time_reduction=self.time_reduction, window_rows=self.window_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file of the folder, path relative to it."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything `edgephi.json` says.

    `template_names` are empty in folders made before they were kept; the ids in `tokens` then name bos and eos.
    `fidelity` is None until it was measured and recorded, `derived_prefill` where no weights are to be derived.
    """

    schema_version: int
    generator: str
    source: SourceInfo
    recipe: RecipeInfo
    adapters: AdaptersInfo
    rope: RopeInfo
    decoder: DecoderInfo
    vision: VisionInfo | None
    speech: SpeechInfo | None
    tokens: TokenInfo
    generation: GenerationDefaults
    files: tuple[FileInfo, ...]
    template_names: tuple[TemplateName, ...] = ()
    fidelity: FidelityInfo | None = None
    derived_prefill: DerivedPrefillInfo | None = None

    def __post_init__(self) -> None:
        tokens, vocab_size = self.tokens, self.decoder.vocab_size
        for token_id in (*tokens.eos, tokens.bos, tokens.pad, tokens.image, tokens.audio):
            if token_id is not None and not 0 <= token_id < vocab_size:
                raise ValueError(f"tokens name id {token_id}, outside the vocabulary of {vocab_size:,}")
        if self.vision is not None:
            for name in ("row_separator", "global_separator"):
                _check_shape(name, getattr(self.vision, name), (self.decoder.hidden_size,))
        if self.adapters.mode != "routed" and self.decoder.text_graph is not None:
            raise ValueError(f"adapters are {self.adapters.mode}, so there is no second graph for text")
        derived = self.derived_prefill
        if derived is not None and (derived.int8_graph is None) != (self.decoder.int8_cache is None):
            raise ValueError("derived_prefill and the decoder must both have a graph for int8 keys, or neither")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The inputs that the bundle takes: `text`, and `vision` and `speech` where their encoders are present."""
        present = {"text": True, "vision": self.vision is not None, "speech": self.speech is not None}
        return tuple(name for name, there in present.items() if there)

    @property
    def has_one_purpose(self) -> bool:
        """Whether the merged adapter serves requests without media too, as the recipe says."""
        return self.recipe.name == ONE_PURPOSE and self.adapters.mode in ("speech", "vision")

    @property
    def graphs(self) -> tuple[str, ...]:
        """Every graph file."""
        return (*self.decoder.graphs, *(encoder.graph for encoder in (self.vision, self.speech) if encoder is not None))

    @property
    def weights(self) -> tuple[TensorRef, ...]:
        """Places of tensors that are read without a graph, the scales of a cache aside."""
        vision = self.vision
        separators = () if vision is None else (vision.row_separator, vision.global_separator)
        return (*self.decoder.embedding.tensors, *separators)

    def to_json(self) -> str:
        """The text of `edgephi.json`."""
        raw = dataclasses.asdict(self)
        for name in ("fidelity", "derived_prefill"):
            if raw[name] is None:
                del raw[name]  # older versions of edgephi know no such key
        return json.dumps(with_checksum(raw), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Parse and check the text of `edgephi.json`.

        Raises:
            ArtifactError: Not JSON, another schema version, an unknown or missing key, a wrong type, a path that
                leaves the folder, a changed value.
        """
        raw = parse_json(text, where)
        if not isinstance(raw, dict) or "schema_version" not in raw:
            raise ArtifactError(f"{where}: not the description of an edgephi model; it has no schema_version")
        version = raw["schema_version"]
        if version not in READ_VERSIONS:
            is_newer = isinstance(version, int) and version > SCHEMA_VERSION
            raise ArtifactError(
                f"{where}: schema version {version!r}; this edgephi reads {' and '.join(map(str, READ_VERSIONS))}; "
                + (f"{_made_newer(raw)}: {_UPGRADE}" if is_newer else "export the model again")
            )
        if unknown := sorted(raw.keys() - {field.name for field in dataclasses.fields(cls)} - {CHECKSUM}):
            raise ArtifactError(f"{where}: unknown key {unknown[0]!r}; if {_made_newer(raw)}: {_UPGRADE}")
        manifest = decode(cls, {key: value for key, value in raw.items() if key != CHECKSUM}, where)
        for file in manifest.files:
            _check_relative(file.path, where)
        check_checksum(raw, where)
        return manifest


def _made_newer(raw: dict[str, object]) -> str:
    made = raw.get("generator")
    named = f" ({made})" if isinstance(made, str) and made.isprintable() else ""
    return f"it was made by a newer edgephi{named}"


def _check_relative(path: str, where: str) -> None:
    """Refuse a path that would reach outside the model folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise ArtifactError(f"{where}: file path {path!r} is not inside the model folder")


def _check_shape(name: str, tensor: TensorRef, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.dtype != "float32":
        raise ValueError(
            f"{name} is {tensor.dtype} of shape {list(tensor.shape)}; the other sizes need float32 {list(shape)}"
        )
