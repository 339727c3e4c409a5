"""What a user calls around a flow: `using()` and `run_name()`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry.context import attach, create_key, detach, get_current, get_value, set_value

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

_ATTRIBUTES_KEY: Final = create_key("pocketflow-otel-attributes")
_NAME_KEY: Final = create_key("pocketflow-otel-run-name")


@contextmanager
def using(
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Iterator[None]:
    """Put attributes on every span started in the block, in this thread or task and its children.

    The names are OpenInference's: `session.id`, `user.id`, `tag.tags`, `metadata` (a JSON string).
    An inner block adds to an outer one; what both give, the inner one decides.

        with using(session_id="chat-7", tags=["beta"]):
            flow.run(shared)

    Raises:
        TypeError: `tags` is one string, or `metadata` is not JSON.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags={tags!r}: give a sequence of strings")
    given: dict[str, AttributeValue | None] = {
        semconv.SESSION_ID: session_id,
        semconv.USER_ID: user_id,
        semconv.TAGS: None if tags is None else tuple(tags),
        semconv.METADATA: None if metadata is None else json.dumps(dict(metadata), ensure_ascii=False),
    }
    attributes = {**user_attributes(get_current())}
    attributes.update((name, value) for name, value in given.items() if value is not None)
    token = attach(set_value(_ATTRIBUTES_KEY, attributes))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def run_name(name: str) -> Iterator[None]:
    """Name the runs started in the block: the name of their root flow's span and trace file."""
    token = attach(set_value(_NAME_KEY, name))
    try:
        yield
    finally:
        detach(token)


def user_attributes(context: Context) -> Mapping[str, AttributeValue]:
    """Return what the open `using()` blocks of a context give."""
    return context.get(_ATTRIBUTES_KEY) or {}  # type: ignore[return-value]


def given_run_name() -> str | None:
    """Return the name the innermost open `run_name()` gives."""
    name = get_value(_NAME_KEY)
    return name if isinstance(name, str) else None
