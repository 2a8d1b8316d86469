"""The layouts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from edgephi.base.errors import ConfigError
from edgephi_export.layouts.edgephi.layout import EdgephiLayout
from edgephi_export.layouts.genai.layout import GenaiLayout
from edgephi_export.layouts.layout import Layout
from edgephi_export.layouts.optimum.layout import OptimumLayout
from edgephi_export.layouts.transformersjs.layout import TransformersJsLayout
from edgephi_export.options import LayoutName

LAYOUTS: Mapping[LayoutName, Layout] = {
    "edgephi": EdgephiLayout(),
    "genai": GenaiLayout(),
    "optimum": OptimumLayout(),
    "transformersjs": TransformersJsLayout(),
}


def find_layout(name: str) -> Layout:
    """The layout of this name.

    Raises:
        ConfigError: There is none.
    """
    for known, layout in LAYOUTS.items():
        if known == name:
            return layout
    raise ConfigError(f"unknown layout {name!r}; known: {', '.join(get_args(LayoutName))}")
