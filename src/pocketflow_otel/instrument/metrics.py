"""The metrics of flows and nodes: few names, few attributes, recorded where spans end.

Names are of low cardinality: flow, node, status, error type, model. Runs that are sampled out are not
measured either. The SDK adds exemplars by itself, since each point is recorded below its span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import NoOpMeterProvider, get_meter_provider
from opentelemetry.trace import set_span_in_context

from pocketflow_otel import __version__, semconv
from pocketflow_otel.usage.providers import provider_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.runtime.scope import Scope
    from pocketflow_otel.usage.totals import UsageTotals

# Those the GenAI conventions ask for.
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)


def metrics_of(given: MeterProvider | None) -> Metrics | None:
    """Return the instruments of a provider, by default the global one; `None` while nobody reads them."""
    provider = given or get_meter_provider()
    # The API's own placeholder is private; what has no readers is the SDK's, of a set-up for traces alone.
    nobody = type(provider).__module__.startswith("opentelemetry.metrics") or isinstance(
        provider, NoOpMeterProvider
    )
    return None if nobody or getattr(provider, "_metric_readers", True) == () else Metrics(provider)


class Metrics:
    """The instruments of one meter provider."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(semconv.SCOPE_NAME, __version__)
        self._flows = meter.create_histogram(
            semconv.METRIC_WORKFLOW_DURATION,
            unit="s",
            description="How long a flow took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._nodes = meter.create_histogram(
            semconv.METRIC_NODE_DURATION,
            unit="s",
            description="How long a step, one execution of a node, took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tokens = meter.create_histogram(
            semconv.METRIC_CLIENT_USAGE,
            unit="{token}",
            description="Tokens of the model calls that have no span of their own.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._attempts = meter.create_counter(
            semconv.METRIC_NODE_ATTEMPTS,
            unit="{attempt}",
            description="Attempts of nodes and batch items; beyond one for each they are retries.",
        )
        self._cost = meter.create_counter(
            semconv.METRIC_COST, unit="USD", description="What the model calls of a run cost, where known."
        )
        self._runs = meter.create_counter(
            semconv.METRIC_RUNS, unit="{run}", description="Runs that have ended."
        )

    def record(self, scope: Scope, seconds: float, error_type: str, total: UsageTotals | None) -> None:
        """Record a scope that ends.

        Args:
            scope: The flow, node or item, its span still open.
            seconds: How long it took.
            error_type: The `error.type` of what it failed by; empty if it did not.
            total: The usage of the model calls in it.
        """
        context = set_span_in_context(scope.span)
        names = _names(scope)
        outcome = {**names, **_outcome(error_type)}
        if scope.kind == "flow":
            self._flows.record(seconds, outcome, context)
        elif scope.kind == "node":
            self._nodes.record(seconds, outcome, context)
        attempts = getattr(getattr(scope, "attempts", None), "count", 0)
        if attempts:
            self._attempts.add(attempts, names, context)
        if scope.usage is not None and scope.usage.has_no_client_span:
            self._record_tokens(scope, names, context)
        if scope.parent is None:
            self._runs.add(1, outcome, context)
            self._record_cost(total, names, context)

    def _record_tokens(self, scope: Scope, names: Mapping[str, AttributeValue], context: Any) -> None:
        assert scope.usage is not None
        for call in scope.usage.explicit:
            usage = call.usage
            attributes = {**names, semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE}
            if usage.model:
                attributes[semconv.REQUEST_MODEL] = usage.model
            provider = provider_name(usage)
            if provider:
                attributes[semconv.PROVIDER_NAME] = provider
            for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                self._tokens.record(tokens, {**attributes, semconv.TOKEN_TYPE: kind}, context)

    def _record_cost(
        self, total: UsageTotals | None, names: Mapping[str, AttributeValue], context: Any
    ) -> None:
        """Record the money of a run when it ends: only then every price is known."""
        for model, found in total.models.items() if total is not None else ():
            if found.cost:
                self._cost.add(float(found.cost), {**names, semconv.REQUEST_MODEL: model}, context)


def _names(scope: Scope) -> dict[str, AttributeValue]:
    """Return the names of the innermost node and flow a scope lies in, itself included."""
    names: dict[str, AttributeValue] = {}
    inner: Scope | None = scope
    while inner is not None:
        name = getattr(inner, "name", "")
        if inner.kind == "node" and semconv.NODE_NAME not in names:
            names[semconv.NODE_NAME] = name
        elif inner.kind == "flow":
            if name:
                names[semconv.GEN_AI_WORKFLOW_NAME] = name
            break
        inner = inner.parent
    return names


def _outcome(error_type: str) -> dict[str, AttributeValue]:
    if not error_type:
        return {semconv.STATUS: semconv.STATUS_OK}
    return {semconv.STATUS: semconv.STATUS_ERROR, semconv.ERROR_TYPE: error_type}
