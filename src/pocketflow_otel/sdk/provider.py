"""Prepare a tracer provider: the one way to set it up, and the one state that is kept of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from opentelemetry.sdk.trace import TracerProvider

from pocketflow_otel.export.client_spans import ClientUsageProcessor
from pocketflow_otel.export.outputs import chosen_views, is_live, keeps_every_run
from pocketflow_otel.export.run_processor import RunProcessor
from pocketflow_otel.sdk.ids import use_private_ids

if TYPE_CHECKING:
    import threading

    from opentelemetry import trace

    from pocketflow_otel.config import Config
    from pocketflow_otel.export.run_processor import View


@dataclass(eq=False, slots=True)
class ProviderState:
    """What this package keeps of one provider.

    Attributes:
        client_usage: The processor that counts the usage on spans of LLM clients.
        runs: The processor that shows runs to the views.
        late_flush: The flush that took too long, and may still go on.
    """

    client_usage: ClientUsageProcessor | None = None
    runs: RunProcessor | None = None
    late_flush: threading.Thread | None = None


_states: Final[WeakKeyDictionary[TracerProvider, ProviderState]] = WeakKeyDictionary()


def state_of(provider: TracerProvider) -> ProviderState:
    """Return the state of a provider, empty when it is asked for first."""
    return _states.setdefault(provider, ProviderState())


def prepare_provider(provider: trace.TracerProvider, config: Config, *, change_views: bool = False) -> None:
    """Prepare a provider for runs: private ids, usage of LLM clients, and the views a user chose.

    May be called again, by whoever sets up the SDK: each processor is added once.

    Args:
        provider: The provider; one that is not the SDK's is left alone.
        config: What stderr shows and which runs leave a trace file; `None` leaves it as it is.
        change_views: Change a view that is there already to the mode of `config`; else it stays.
    """
    if not isinstance(provider, TracerProvider):
        return
    use_private_ids(provider)
    count_client_usage(provider)
    processor = run_processor_of(provider)  # Without views too: it hands on what `using()` gives.
    processor.views = chosen_views(processor.views, config, change=change_views)


def count_client_usage(provider: TracerProvider) -> None:
    """Have the usage on spans of LLM clients counted."""
    state = state_of(provider)
    if state.client_usage is None:
        state.client_usage = ClientUsageProcessor()
        provider.add_span_processor(state.client_usage)


def run_processor_of(provider: TracerProvider) -> RunProcessor:
    """Return the one run processor of a provider, added when it is asked for first."""
    state = state_of(provider)
    if state.runs is None:
        state.runs = RunProcessor()
        provider.add_span_processor(state.runs)
    return state.runs


def views_of(provider: TracerProvider) -> tuple[View, ...]:
    """Return what the runs of a provider are shown to."""
    runs = state_of(provider).runs
    return () if runs is None else runs.views


def shows_live(provider: trace.TracerProvider | None) -> bool:
    """Return whether the steps of a provider's runs have lines on stderr while they run."""
    return isinstance(provider, TracerProvider) and is_live(views_of(provider))


def keeps_files() -> bool:
    """Return whether each run of this process leaves a trace file."""
    return any(keeps_every_run(views_of(provider)) for provider in list(_states))
