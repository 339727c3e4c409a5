"""Nodes whose spans the tests of scopes look at, and the events of those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow import BatchFlow, BatchNode, Flow, Node

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


Store = dict[str, Any]
VISIT = "pocketflow.node.visit"
ATTEMPTS = "pocketflow.node.attempts"


class Step(Node):
    """Returns the actions it was given, one a visit."""

    def __init__(self, *actions: object, name: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.actions = list(actions)
        if name is not None:
            self.name = name

    def post(self, shared: Store, prep_res: object, exec_res: object) -> object:
        return self.actions.pop(0) if self.actions else None


class Flaky(Node):
    """Fails as often as it was told to."""

    def __init__(self, failures: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.failures = failures
        self.calls = 0

    def exec(self, prep_res: object) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"no answer to call {self.calls}")
        return "answer"


def events(span: ReadableSpan) -> list[tuple[str, dict[str, object]]]:
    """Return a span's events but for what names lines of code."""
    attributes = [dict(event.attributes or {}) for event in span.events]
    for own in attributes:
        own.pop("exception.stacktrace", None)
        own.pop("place", None)
    return [(event.name, own) for event, own in zip(span.events, attributes, strict=True)]


class Support(Flow):
    pass


class Items(BatchNode):
    """Fails at the items its store names."""

    def prep(self, shared: Store) -> Any:
        self.bad = shared.get("bad", ())
        return shared["items"]

    def exec(self, prep_res: int) -> int:
        if prep_res in self.bad:
            raise ValueError(f"bad item {prep_res}")
        return prep_res


class Files(BatchFlow):
    def prep(self, shared: Store) -> Any:
        return shared["rounds"]
