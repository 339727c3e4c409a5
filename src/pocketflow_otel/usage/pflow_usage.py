"""Read the usage of calls that pflow keeps beside what a node wrote, in its store and in its traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel.pflow_names import CACHE_SOURCE
from pocketflow_otel.usage.payloads import read_usage

if TYPE_CHECKING:
    from pocketflow_otel.usage.payloads import Usage


def read_pflow_usage(reported: object) -> list[Usage]:
    """Return the usage of each call in what pflow reports; none of calls that a cache answered."""
    if isinstance(reported, dict) and (not reported or reported.get(CACHE_SOURCE)):
        return []
    return [usage for usage in read_usage(reported, ask=False) if usage]
