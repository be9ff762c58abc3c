"""Workloads of clients, whose files lie in a file system that is mounted on them."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from vmlab.workloads import Native, Node, Workload
from vmlab.workloads._lustre import in_mount, over_soft_roce
from vmlab.workloads._nodes import NodeNames, clients_of


class ClientsOptions(BaseModel):
    """Which nodes; each workload says by itself what they do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: NodeNames | None = None


C = TypeVar("C", bound=ClientsOptions)


class OnClients(Workload[C]):
    """Its options have a `directory`, too: on the host it is that which `native` names."""

    @override
    def takes_part(self, options: C, nodes: Sequence[Node]) -> tuple[str, ...]:
        return tuple(node.name for node in clients_of(self.name, options.nodes, nodes))

    @override
    def on_host(self, options: C, native: Native) -> C:
        return in_mount(self.name, options, native)

    @override
    def soft(self, options: C, nodes: Sequence[Node]) -> bool:
        return over_soft_roce(nodes)
