"""Usage and cost as attributes of spans."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.usage.providers import provider_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.usage.pricing import PriceBook
    from pocketflow_otel.usage.totals import Call, ModelTotals, UsageTotals

MAX_MODELS: Final = 32


def sums(total: UsageTotals, *, by_model: bool) -> dict[str, AttributeValue]:
    """Return the usage of all calls in a scope, for its span.

    Args:
        total: The calls, added up.
        by_model: Whether to give the usage of each model too, as the root of a run does.
    """
    whole = total.total
    attributes: dict[str, AttributeValue] = {
        semconv.SUM_CALLS: whole.calls,
        semconv.SUM_INPUT_TOKENS: whole.input_tokens,
        semconv.SUM_OUTPUT_TOKENS: whole.output_tokens,
        semconv.SUM_MODELS: sorted(total.models)[:MAX_MODELS],
    }
    if whole.cache_read_tokens:
        attributes[semconv.SUM_CACHE_READ_TOKENS] = whole.cache_read_tokens
    if whole.unpriced:
        attributes[semconv.COST_UNPRICED_CALLS] = whole.unpriced
    if whole.unpriced < whole.calls and not total.waiting:
        attributes[semconv.COST] = float(whole.cost)
    if by_model:
        models = {model: _model(found) for model, found in sorted(total.models.items())[:MAX_MODELS]}
        attributes[semconv.SUM_BY_MODEL] = json.dumps(models, ensure_ascii=False)
    return attributes


def _model(found: ModelTotals) -> dict[str, float]:
    fields: dict[str, float] = {
        "calls": found.calls,
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
    }
    if found.unpriced:
        fields["unpriced_calls"] = found.unpriced
    if found.unpriced < found.calls:
        fields["cost"] = float(found.cost)
    return fields


def of_calls(calls: Sequence[Call], prices: PriceBook) -> dict[str, AttributeValue]:
    """Return the usage of calls that have no spans of their own, for the step that made them."""
    usages = [call.usage for call in calls]
    attributes: dict[str, AttributeValue] = {
        semconv.USAGE_INPUT_TOKENS: sum(usage.input_tokens for usage in usages),
        semconv.USAGE_OUTPUT_TOKENS: sum(usage.output_tokens for usage in usages),
    }
    parts = {
        semconv.USAGE_CACHE_READ_TOKENS: sum(usage.cache_read_tokens for usage in usages),
        semconv.USAGE_CACHE_WRITE_TOKENS: sum(usage.cache_write_tokens for usage in usages),
        semconv.USAGE_REASONING_TOKENS: sum(usage.reasoning_tokens for usage in usages),
    }
    attributes |= {name: tokens for name, tokens in parts.items() if tokens}
    models = {usage.model for usage in usages}
    if len(models) == 1 and (model := models.pop()):
        attributes[semconv.REQUEST_MODEL] = model
    providers = {provider_name(usage) for usage in usages}
    if len(providers) == 1 and (provider := providers.pop()):
        attributes[semconv.PROVIDER_NAME] = provider
    if all(prices.knows_without_table(usage) for usage in usages):
        costs = [prices.price(call.usage, call.at, base_url=call.base_url) for call in calls]
        known = [cost for cost in costs if cost is not None]
        if len(known) == len(costs):
            attributes[semconv.USAGE_COST] = float(sum(known, Decimal(0)))
    return attributes


def without_own_span(totals: UsageTotals) -> dict[str, AttributeValue]:
    """Return the usage reported by batch items that have no span of their own, for the batch's span."""
    whole = totals.total
    if not whole.calls:
        return {}
    attributes: dict[str, AttributeValue] = {
        semconv.USAGE_INPUT_TOKENS: whole.input_tokens,
        semconv.USAGE_OUTPUT_TOKENS: whole.output_tokens,
    }
    if whole.cache_read_tokens:
        attributes[semconv.USAGE_CACHE_READ_TOKENS] = whole.cache_read_tokens
    if len(totals.models) == 1:
        attributes[semconv.REQUEST_MODEL] = next(iter(totals.models))
    if not whole.unpriced and not totals.waiting:
        attributes[semconv.USAGE_COST] = float(whole.cost)
    return attributes
