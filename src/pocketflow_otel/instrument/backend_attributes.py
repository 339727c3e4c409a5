"""Attributes for back ends that look for names of their own: `POCKETFLOW_OTEL_COMPAT`.

They add to ours, and never repeat usage or cost: a back end that reads both would count twice.

https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
https://langfuse.com/integrations/native/opentelemetry
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.util.types import AttributeValue

_JSON: Final = "application/json"


def of_start(
    compat: Collection[str], attributes: dict[str, AttributeValue], *, name: str, before: str, root: bool
) -> dict[str, AttributeValue]:
    """Return what to add to the attributes a span starts with.

    Args:
        compat: The back ends, as in `Config.compat`.
        attributes: What it starts with so far.
        name: The flow's or node's name; empty for an item.
        before: The node that ran before it in its flow, or else that flow: where the edge that
            leads to it begins.
        root: Whether it is the root of a run.
    """
    more: dict[str, AttributeValue] = {}
    if "openinference" in compat:
        more[semconv.OPENINFERENCE_SPAN_KIND] = "CHAIN"
        if name:
            more[semconv.GRAPH_NODE_ID] = name
            if before:
                more[semconv.GRAPH_NODE_PARENT_ID] = before
    if "langfuse" in compat:
        more[semconv.LANGFUSE_OBSERVATION_TYPE] = "chain"
        if root and name:
            more[semconv.LANGFUSE_TRACE_NAME] = name
        tags = attributes.get(semconv.TAGS)
        if tags is not None:
            more[semconv.LANGFUSE_TRACE_TAGS] = tags
    return more


def of_calls(compat: Collection[str]) -> dict[str, AttributeValue]:
    """Return the attributes that make a model call of a step whose calls have no span of their own.

    Back ends price the usage of model calls alone, not that of chains.
    """
    more: dict[str, AttributeValue] = {}
    if "openinference" in compat:
        more[semconv.OPENINFERENCE_SPAN_KIND] = "LLM"
    if "langfuse" in compat:
        more[semconv.LANGFUSE_OBSERVATION_TYPE] = "generation"
    return more


def of_input(compat: Collection[str], values: str) -> dict[str, AttributeValue]:
    """Return the attributes for the captured values a step found; a JSON object."""
    return _values(
        compat, values, semconv.INPUT_VALUE, semconv.INPUT_MIME_TYPE, semconv.LANGFUSE_OBSERVATION_INPUT
    )


def of_output(compat: Collection[str], values: str) -> dict[str, AttributeValue]:
    """Return the attributes for the captured values a step left; a JSON object."""
    return _values(
        compat, values, semconv.OUTPUT_VALUE, semconv.OUTPUT_MIME_TYPE, semconv.LANGFUSE_OBSERVATION_OUTPUT
    )


def _values(
    compat: Collection[str], values: str, name: str, mime_type: str, langfuse: str
) -> dict[str, AttributeValue]:
    more: dict[str, AttributeValue] = {}
    if "openinference" in compat:
        more |= {name: values, mime_type: _JSON}
    if "langfuse" in compat:
        more[langfuse] = values
    return more
