"""Which nodes of a graph a session of a GPU leaves to the CPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

_CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Where ONNX Runtime put the nodes of a graph.

    Attributes:
        num_nodes: Nodes of the graph once it is optimized, those of its branches included.
        host_nodes: Names and operators of those that run on the CPU.
    """

    num_nodes: int
    host_nodes: tuple[tuple[str, str], ...]

    @property
    def host_operators(self) -> tuple[tuple[str, int], ...]:
        """Operators that run on the CPU, with how many nodes are of each; most first."""
        return tuple(Counter(operator for _, operator in self.host_nodes).most_common())

    def __str__(self) -> str:
        if not self.host_nodes:
            return f"all {self.num_nodes:,} nodes on the GPU"
        counts = ", ".join(f"{operator} {count:,}" for operator, count in self.host_operators)
        return f"{len(self.host_nodes):,} of {self.num_nodes:,} nodes on the CPU: {counts}"


def assignment_of(session: Any) -> Assignment:
    """As the session recorded it.

    Args:
        session: An InferenceSession with `session.record_ep_graph_assignment_info` set.
    """
    parts = [(part.ep_name, part.get_nodes()) for part in session.get_provider_graph_assignment_info()]
    return Assignment(
        num_nodes=sum(len(nodes) for _, nodes in parts),
        host_nodes=tuple(
            (node.name, node.op_type) for provider, nodes in parts if provider == _CPU_PROVIDER for node in nodes
        ),
    )
