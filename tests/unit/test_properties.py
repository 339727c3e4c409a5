"""Random programs do the same bare and traced, and their spans tell exactly what they did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from opentelemetry.context import get_current
from tests.support.effort import examples
from tests.support.programs import FlowSpec, Item, NodeSpec, Performance, Program, Seen, Spec, programs
from tests.support.variants import variant

from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.sdk.trace import Event, ReadableSpan

    from pocketflow_otel.testing import CapturedSpans

Tree = dict[str, Any]

CASES = {"0.0.1": 150, "0.0.2": 50, "0.0.3": 500, "head": 150, "keywords": 150}
assert sum(CASES.values()) == 1000


@pytest.mark.parametrize("name", CASES)
def test_a_traced_program_does_what_the_bare_one_does_and_spans_tell_it(name: str) -> None:
    module = variant(name)

    @settings(
        max_examples=examples(CASES[name]),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(programs())
    def check(program: Program) -> None:
        bare = Performance(program, module)
        expected = bare.run()
        traced = None if program.built_traced else Performance(program, module)
        before = get_current()
        with capture_spans(module=module) as captured:
            traced = traced or Performance(program, module)
            assert traced.run() == expected
        assert get_current() == before
        assert told(captured, store=not program.parallel) == [
            Oracle(program).tree(seen) for seen in bare.roots
        ]

    check()


class OneOf(frozenset[Any]):
    """Equals any of its elements: what two failing siblings leave open."""

    def __eq__(self, other: object) -> bool:
        return other in set(self)

    __hash__ = frozenset.__hash__


def one_of(values: Iterable[Any]) -> Any:
    found = OneOf(values)
    return next(iter(found)) if len(found) == 1 else found


class Oracle:
    """What spans should say, from what the methods of a bare program saw."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.error_type = f"{program.error.__module__}.{program.error.__qualname__}".removeprefix("builtins.")

    def tree(self, seen: Seen) -> Tree:
        return self.flow(seen, seen.spec) if isinstance(seen.spec, FlowSpec) else self.node(seen, seen.spec)

    def span(self, name: str, errors: list[Exception], below: list[Seen], children: list[Tree]) -> Tree:
        """Return a span without attributes of its own; `below` runs directly in it."""
        told = {id(error) for seen in below for error in errors_of(seen)}
        own = [error for error in errors[:1] if id(error) not in told]
        return {
            "name": name,
            "status": one_of(f"{type(e).__name__}: {e}" for e in errors) if errors else None,
            "attributes": {
                **({"error.type": self.error_type} if errors else {}),
                **({"pocketflow.error.place": "programs.py"} if own else {}),
            },
            "events": [("exception", self.exception(error)) for error in own],
            "children": children,
        }

    def exception(self, error: Exception) -> dict[str, object]:
        return {"exception.type": self.error_type, "exception.message": str(error)}

    def flow(self, seen: Seen, spec: FlowSpec) -> Tree:
        errors = errors_of(seen)
        name = self.name(spec)
        children = [self.tree(child) for child in seen.children]
        if "Batch" in spec.kind:
            children = self.rounds(seen, spec)
        span = self.span(f"invoke_workflow {name}".strip(), errors, seen.children, children)
        steps = sum(count_steps(child) for child in seen.children)
        late = errors and self.program.parallel
        span["attributes"] |= {
            "gen_ai.operation.name": "invoke_workflow",
            "pocketflow.flow.class": spec.kind if spec.plain else f"My{spec.kind}",
            "pocketflow.run.id": "the run's",
            "pocketflow.flow.steps": OneOf(range(steps + 1)) if late else steps,
            **({"gen_ai.workflow.name": name} if name else {}),
            **({"pocketflow.flow.start_node": step_name(spec.members[0])} if spec.members else {}),
            **({"pocketflow.flow.nested": True, "pocketflow.flow.visit": visit(seen)} if seen.above else {}),
            **self.store(seen),
        }
        if "Batch" in spec.kind:
            sized = not spec.lazy and seen.phase != "prep"
            span["attributes"] |= batch(spec.kind, len(spec.rounds) if sized else None)
        if not errors:
            span["attributes"]["pocketflow.flow.action"] = action_name(seen.returned)
            span["events"] += follow(seen)[1]
        return span

    def rounds(self, seen: Seen, spec: FlowSpec) -> list[Tree]:
        ran: dict[int, list[Seen]] = {}
        for child in seen.children:
            ran.setdefault(id(child.params), []).append(child)
        children = list(ran.values())
        if not spec.members:
            children = [[] for _ in spec.rounds if seen.phase != "prep"]
        return [self.round(seen, spec, index, below) for index, below in enumerate(children)]

    def round(self, seen: Seen, spec: FlowSpec, index: int, below: list[Seen]) -> Tree:
        errors = [error for child in below for error in errors_of(child)]
        span = self.span("batch_item", errors, below, [self.tree(child) for child in below])
        keys = tuple({**seen.params, **spec.rounds[index]})
        span["attributes"] |= {
            "pocketflow.batch.index": index,
            **({} if spec.lazy else {"pocketflow.batch.size": len(spec.rounds)}),
            **({"pocketflow.params.keys": keys} if keys else {}),
        }
        return span

    def node(self, seen: Seen, spec: NodeSpec) -> Tree:
        errors = errors_of(seen)
        items = list(seen.items.values())
        if spec.retries == 0 and seen.phase != "prep":  # PocketFlow then never calls `exec`.
            items = [Item(seen) for _ in range(spec.items)]
        inner = [child for item in items for child in item.children]
        sized = None if spec.lazy else spec.items
        if "Batch" in spec.kind:
            children = [self.item(spec, sized, index, item) for index, item in enumerate(items)]
        else:
            children = [self.tree(child) for child in inner]
        span = self.span(f"invoke_node {step_name(spec)}", errors, inner, children)
        attributes = span["attributes"]
        attributes |= {
            "gen_ai.operation.name": "invoke_node",
            "pocketflow.node.name": step_name(spec),
            "pocketflow.node.class": f"My{spec.kind}",
            "pocketflow.node.visit": visit(seen),
            **({} if spec.kind == "BaseNode" else {"pocketflow.node.max_retries": spec.retries}),
            **({} if seen.above else {"pocketflow.run.id": "the run's"}),
            **({"pocketflow.error.phase": seen.phase} if errors else {}),
            **self.store(seen),
        }
        phases = ["prep", "exec", "post"][: {"prep": 0, "exec": 2, "post": 3}[seen.phase]]
        attributes |= {f"pocketflow.node.{phase}.duration": "some time" for phase in phases}
        if "Batch" in spec.kind:
            attributes |= batch(spec.kind, sized if seen.phase != "prep" else None)
            if fallbacks := sum(item.fallback for item in items):
                attributes["pocketflow.batch.fallbacks"] = fallbacks
            if errors and seen.error is None:  # An item tells of it.
                span["events"] = []
                attributes.pop("pocketflow.error.place", None)
        else:
            for item in items:
                attributes |= attempts(item)
                span["events"] = [*self.failures(spec, item), *span["events"]]
        if not errors:
            following, unmatched = follow(seen)
            span["events"] += unmatched
            attributes["pocketflow.node.action"] = action_name(seen.returned)
            if following:
                attributes["pocketflow.node.next"] = step_name(following)
        return span

    def item(self, spec: NodeSpec, size: int | None, index: int, item: Item) -> Tree:
        errors = [item.error] if item.error else []
        children = [self.tree(child) for child in item.children]
        span = self.span("batch_item", errors, item.children, children)
        span["attributes"] |= {
            "pocketflow.batch.index": index,
            **({} if size is None else {"pocketflow.batch.size": size}),
            **attempts(item),
        }
        span["events"] = [*self.failures(spec, item), *span["events"]]
        return span

    def failures(self, spec: NodeSpec, item: Item) -> list[tuple[str, dict[str, object]]]:
        """Return the events of the attempts that failed, but for one whose error is the step's."""
        return [
            (
                "pocketflow.attempt.failed",
                {
                    "attempt": number,
                    "max": spec.retries,
                    "phase": "exec",
                    "wait_seconds": 0.0,
                    "place": "programs.py",
                    **self.exception(error),
                },
            )
            for number, error in enumerate(item.attempts, 1)
            if error and error is not item.error
        ]

    def store(self, seen: Seen) -> dict[str, object]:
        """Return what a span says of the store: nothing certain while others write to it too."""
        if self.program.parallel:
            return {}
        schema = {key: type_text(value) for key, (_, value) in seen.before.items()}
        attributes: dict[str, object] = {"pocketflow.shared.schema": schema}
        was, now = seen.before, left_by(seen)
        diff = {
            "added": [key for key in now if key not in was],
            "modified": [key for key in now if key in was and changed(was[key], now[key])],
            "removed": [key for key in was if key not in now],
        }
        for kind, keys in diff.items():
            if keys:
                attributes[f"pocketflow.shared.{kind}.keys"] = tuple(keys)
            if keys and kind != "removed":
                types = tuple(type_text(now[key][1]) for key in keys)
                attributes[f"pocketflow.shared.{kind}.types"] = types
        return attributes

    def name(self, spec: FlowSpec) -> str:
        """Return the name of a flow: its own, or where it comes from and how it begins.

        The names of the classes, `MyFlow` and such, say nothing. `Performance.build` builds many, as `built`.
        """
        place = "built" if self.program.built_traced else file_of(spec)
        way = ": ".join(starts(spec))
        title = f"{place} ({way})" if place and way else place or way
        return spec.name or title or ("" if spec.plain else step_name(spec))


def starts(spec: FlowSpec) -> Iterator[str]:
    """Yield what a flow starts with, what that starts with, and so on until one has a name of its own."""
    for first in spec.members[:1]:
        yield step_name(first)
        if isinstance(first, FlowSpec) and not first.name:
            yield from starts(first)


def file_of(spec: FlowSpec) -> str:
    """Return what the file is called that has the class of a flow's first node."""
    first: Spec = spec
    while isinstance(first, FlowSpec) and first.members:
        first = first.members[0]
    if first is spec:
        return ""
    return "pocketflow" if is_plain(first) else "programs"


def is_plain(spec: Spec) -> bool:
    return isinstance(spec, FlowSpec) and spec.plain


def step_name(spec: Spec) -> str:
    return spec.name or (spec.kind if is_plain(spec) else f"My{spec.kind}")


def errors_of(seen: Seen) -> list[Exception]:
    """Return the error of a step; of siblings that failed side by side, any may be it."""
    if seen.error:
        return [seen.error]
    if seen.phase == "post":
        return []
    if isinstance(seen.spec, FlowSpec):
        return [error for child in seen.children for error in errors_of(child)]
    return [item.error for item in seen.items.values() if item.error]


def left_by(seen: Seen) -> dict[str, tuple[object, object]]:
    """Return the store as a step left it; a flow that failed never saw that itself."""
    failed_below = isinstance(seen.spec, FlowSpec) and errors_of(seen) and not seen.error
    return left_by(seen.children[-1]) if failed_below else seen.after


def count_steps(seen: Seen) -> int:
    below = [*seen.children, *(child for item in seen.items.values() for child in item.children)]
    return isinstance(seen.spec, NodeSpec) + sum(map(count_steps, below))


def siblings(seen: Seen) -> list[Seen]:
    """Return the steps of the flow, or the round of a flow, that `seen` belongs to."""
    if not isinstance(seen.above, Seen):
        return [seen]
    return [other for other in seen.above.children if other.params is seen.params]


def visit(seen: Seen) -> int:
    same = [other for other in siblings(seen) if other.spec is seen.spec]
    return same.index(seen) + 1


def follow(seen: Seen) -> tuple[Spec | None, list[tuple[str, dict[str, object]]]]:
    """Return the step an action leads to, and the event of one that leads nowhere."""
    if not isinstance(seen.above, Seen):
        return None, []
    flow = seen.above.spec
    assert isinstance(flow, FlowSpec)
    ways = flow.ways(seen.spec)
    action = seen.returned or "default"
    if ways and action not in ways:
        known = {"action": action_name(seen.returned), "known": tuple(ways)}
        return None, [("pocketflow.action.unmatched", known)]
    return ways.get(action), []  # type: ignore[call-overload, no-any-return]


def action_name(returned: object) -> str:
    if returned is None or returned == "":
        return "default"
    return returned if isinstance(returned, str) else type(returned).__name__


def batch(kind: str, size: int | None) -> dict[str, object]:
    mode = "parallel" if "Parallel" in kind else "sequential"
    return {"pocketflow.batch.mode": mode, **({} if size is None else {"pocketflow.batch.size": size})}


def attempts(item: Item) -> dict[str, object]:
    return {
        **({"pocketflow.node.attempts": len(item.attempts)} if item.attempts else {}),
        **({"pocketflow.node.fallback": True} if item.fallback else {}),
    }


def changed(was: tuple[object, object], now: tuple[object, object]) -> bool:
    (value, copy), (new_value, new_copy) = was, now
    rebound = value is not new_value and isinstance(value, list | dict)
    return rebound or type(copy) is not type(new_copy) or copy != new_copy


def type_text(value: object) -> str:
    size = f"[{len(value)}]" if isinstance(value, list | dict) else ""
    return type(value).__name__ + size


def told(captured: CapturedSpans, *, store: bool) -> list[Tree]:
    """Return the spans as trees, in the order in which they started."""
    spans = sorted(captured.spans, key=lambda span: span.start_time or 0)
    known = {span.context.span_id for span in spans}
    roots = [span for span in spans if not span.parent]
    assert all(span.parent.span_id in known for span in spans if span.parent)
    ids = {make_run_id(root.start_time or 0, root.context.span_id) for root in roots}
    assert {span.attributes["pocketflow.run.id"] for span in roots if span.attributes} == ids

    def tree(span: ReadableSpan) -> Tree:
        return {
            "name": span.name,
            "status": None if span.status.is_ok or span.status.is_unset else span.status.description,
            "attributes": dict(shown(span, store=store)),
            "events": [(event.name, seen_event(event)) for event in span.events],
            "children": [
                tree(child)
                for child in spans
                if child.parent and child.parent.span_id == span.context.span_id
            ],
        }

    return [tree(root) for root in roots]


def shown(span: ReadableSpan, *, store: bool) -> Iterable[tuple[str, object]]:
    for key, value in (span.attributes or {}).items():
        if key.startswith("pocketflow.shared.") and not store:
            continue
        if key == "pocketflow.shared.schema":
            yield key, json.loads(str(value))
        elif key == "pocketflow.run.id":
            yield key, "the run's"
        elif key == "pocketflow.error.place":
            yield key, str(value).partition(":")[0]
        elif key.endswith(".duration"):
            yield key, "some time"
        else:
            yield key, value


def seen_event(event: Event) -> dict[str, object]:
    attributes = dict(event.attributes or {})
    stacktrace = str(attributes.pop("exception.stacktrace", ""))
    assert "pocketflow_otel/instrument" not in stacktrace
    assert (event.name == "exception") == stacktrace.startswith("Traceback")
    if "place" in attributes:
        attributes["place"] = str(attributes["place"]).partition(":")[0]
    return attributes
