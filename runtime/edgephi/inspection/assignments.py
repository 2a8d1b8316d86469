"""Which operators of a model folder's graphs a GPU leaves to the CPU, asked of the graphs themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgephi.bundle.bundle import Bundle
from edgephi.ort.device_names import DeviceName
from edgephi.ort.devices import check_device
from edgephi.ort.session import DeviceOptions, open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOperator:
    """An operator that runs on the CPU, and how many nodes are of it."""

    operator: str
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphAssignment:
    """Where the nodes of one graph run.

    Attributes:
        graph: The file.
        device: That it was loaded on.
        num_nodes: Nodes of the graph once it is optimized.
        on_cpu: Operators that run on the CPU.
        text: The same in words.
    """

    graph: str
    device: DeviceName
    num_nodes: int
    on_cpu: tuple[HostOperator, ...]
    text: str


def graph_assignments(bundle: Bundle, device: DeviceName) -> Iterator[GraphAssignment]:
    """Load one graph after another on a GPU, weights included, and ask what runs where.

    Raises:
        ConfigError: This machine has no such device, or it cannot compute the folder.
        CapacityError: A graph does not fit its memory.
        ArtifactError: A graph cannot be loaded.
    """
    options = DeviceOptions(device=device)
    if options.opened.is_host:
        return
    check_device(bundle, options.opened)
    for graph in _graphs(bundle):
        found = open_session(bundle.file(graph), options, bundle=bundle).assignment
        yield GraphAssignment(
            graph=graph,
            device=device,
            num_nodes=found.num_nodes,
            on_cpu=tuple(HostOperator(operator=name, nodes=count) for name, count in found.host_operators),
            text=str(found),
        )


def _graphs(bundle: Bundle) -> tuple[str, ...]:
    """Those that a GPU's model opens: int8 keys and values, and the graph for prefill, are for the CPU."""
    manifest = bundle.manifest
    decoder = (manifest.decoder.graph, manifest.decoder.text_graph)
    encoders = (encoder.graph for encoder in (manifest.vision, manifest.speech) if encoder is not None)
    return tuple(graph for graph in (*decoder, *encoders) if graph is not None)
