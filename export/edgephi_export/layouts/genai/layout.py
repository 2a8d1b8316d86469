"""The folder that onnxruntime-genai loads."""

from __future__ import annotations

from edgephi.base.errors import ConfigError
from edgephi_export.checkpoint.config import Modality
from edgephi_export.checkpoint.selection import Selection, choose
from edgephi_export.graphs.check import check_graphs
from edgephi_export.layouts.genai.plan import plan_genai
from edgephi_export.layouts.genai.usage import usage
from edgephi_export.layouts.genai.writer import GenaiFolder
from edgephi_export.layouts.layout import FolderDescription, FolderPlan, LayoutInput
from edgephi_export.layouts.record import RecordedLayout, check_foreign
from edgephi_export.options import ExportOptions
from edgephi_export.recipe_options import check_cpu_recipe


class GenaiLayout(RecordedLayout):
    """See `Layout`."""

    library = "onnxruntime-genai"

    def check(self, options: ExportOptions) -> None:
        """Refuse what needs edgephi's own runtime, and recipes that the CPU cannot compute with.

        Raises:
            ConfigError: One of these was asked for.
        """
        check_foreign(options)
        check_cpu_recipe(options, "--layout genai")

    def choose(self, options: ExportOptions, available: tuple[Modality, ...]) -> Selection:
        """Any parts that can follow the model's rule for adapters.

        Raises:
            ConfigError: See `checkpoint.selection.choose`.
        """
        return choose(options.adapters, options.modalities, available)

    def plan(self, given: LayoutInput) -> FolderPlan:
        """The graphs, checked.

        Raises:
            ArtifactError: The checkpoint's tokenizer_config.json is damaged, or its tokens for media are unknown to
                onnxruntime-genai.
            ConfigError: More crops were asked for than the checkpoint cuts.
            EdgeError: A graph is not valid ONNX.
        """
        _check_crops(given)
        plan = plan_genai(given)
        check_graphs(plan.graphs)
        return GenaiFolder(given, plan)

    def usage(self, described: FolderDescription) -> tuple[str, ...]:
        """See `usage.py` beside this file."""
        return usage(described)


def _check_crops(given: LayoutInput) -> None:
    asked, vision = given.options.max_crops, given.checkpoint.config.vision
    if asked is None:
        return
    if vision is None:
        raise ConfigError(f"--max-crops {asked}: this export takes no images; leave it out")
    if not 1 <= asked <= vision.max_crops:
        raise ConfigError(f"--max-crops is {asked}; this model cuts an image into 1 to {vision.max_crops} crops")
