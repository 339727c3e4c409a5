"""Nodes and flows to instrument, and the spans they end."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pocketflow import AsyncNode, Flow, Node

Store = dict[str, Any]


class Ask(Node):
    def exec(self, prep_res: object) -> str:
        return "answer"

    def post(self, shared: Store, prep_res: object, exec_res: str) -> None:
        shared["answer"] = exec_res


class Talk(Flow):
    pass


class AskLater(AsyncNode):
    async def exec_async(self, prep_res: object) -> str:
        return "answer"

    async def post_async(self, shared: Store, prep_res: object, exec_res: str) -> None:
        shared["answer"] = exec_res


class Spans:
    """A provider, and what was ended on it."""

    def __init__(self, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **settings)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]
