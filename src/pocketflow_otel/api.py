"""What a user calls around a flow, `using()` and `run_name()`, and in one: `record_usage()`, `progress()`."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opentelemetry.context import create_key, get_value, set_value
from opentelemetry.propagate import get_global_textmap, inject

from pocketflow_otel import semconv
from pocketflow_otel.guard import guard, logger
from pocketflow_otel.runtime.context import current_context, entered
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.usage.payloads import read_usage
from pocketflow_otel.usage.totals import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

_ATTRIBUTES_KEY: Final = create_key("pocketflow-otel-attributes")
_NAME_KEY: Final = create_key("pocketflow-otel-run-name")
_RECORDING: Final = guard("record usage")
_PROGRESSING: Final = guard("tell of progress")


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
    attributes = {**user_attributes(current_context())}
    attributes.update((name, value) for name, value in given.items() if value is not None)
    with entered(set_value(_ATTRIBUTES_KEY, attributes)):
        yield


@contextmanager
def run_name(name: str) -> Iterator[None]:
    """Name the runs started in the block: the name of their root flow's span and trace file."""
    with entered(set_value(_NAME_KEY, name)):
        yield


def record_usage(
    response_or_usage: object,
    *,
    model: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
) -> None:
    """Count a model call's usage for the step that is running.

    Not needed where the client's own instrumentation makes spans, nor for `shared["llm_usage"]`.
    What is recorded here replaces the usage on spans of clients below the same step. Outside a traced run
    it does nothing.

        response = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
        record_usage(response)

    Args:
        response_or_usage: A response of a model, or the usage in one, of any known shape; or a
            list of them: see `usage.payloads.read_usage`.
        model: The model, where that names none.
        provider: The provider, by its name in `gen_ai.provider.name` or genai-prices.
        base_url: Where the call was sent, where neither names the provider.
    """
    with _RECORDING:
        scope = scope_of()
        if scope is None:
            return
        usages = read_usage(response_or_usage, model=model, provider=provider)
        if not usages:
            logger.warning("record_usage() found no usage in a %s", type(response_or_usage).__name__)
            return
        now = datetime.now(UTC)
        scope.record(Call(usage, now, base_url) for usage in usages)


def progress(done: float, total: float | None = None) -> None:
    """Say how far a long step is: a span event, and in the live view while the step is silent.

        for number, page in enumerate(pages, 1):
            ...
            progress(number, len(pages))

    Args:
        done: How much is done, in any unit.
        total: How much there is, if that is known.
    """
    with _PROGRESSING:
        scope = scope_of()
        if scope is not None:
            scope.progress(done, total)


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a child process continues the trace of the step that starts it.

        subprocess.run(["pflow", "run", "report.pflow.md"], env=child_environment())

    The context goes as `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`, which our runs read at their
    start. Outside any span, what the environment already says stays.
    https://opentelemetry.io/docs/specs/otel/context/env-carriers/

    Args:
        environ: What else the child sees; by default what this process does.
    """
    environ = dict(os.environ if environ is None else environ)
    carrier: dict[str, str] = {}
    inject(carrier)
    if "traceparent" in carrier:
        for field in get_global_textmap().fields:  # The state of another trace would be a lie.
            environ.pop(variable_of(field), None)
    return environ | {variable_of(field): value for field, value in carrier.items()}


def variable_of(field: str) -> str:
    """Return the environment variable of a propagation field.

    >>> variable_of("traceparent")
    'TRACEPARENT'
    """
    return field.upper().replace("-", "_")


def user_attributes(context: Context) -> Mapping[str, AttributeValue]:
    """Return what the open `using()` blocks of a context give."""
    return context.get(_ATTRIBUTES_KEY) or {}  # type: ignore[return-value]


def given_run_name() -> str | None:
    """Return the name the innermost open `run_name()` gives."""
    name = get_value(_NAME_KEY)
    return name if isinstance(name, str) else None
