"""The names of PocketFlow's classes."""

from __future__ import annotations

from typing import Final

NODES: Final = ("BaseNode", "Node", "BatchNode", "AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode")
FLOWS: Final = ("Flow", "BatchFlow", "AsyncFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow")
NAMES: Final = frozenset((*NODES, *FLOWS))
