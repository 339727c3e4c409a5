"""The layout of a trace file: run summary, events and spans, each found without parsing the rest."""

from __future__ import annotations

from typing import Final

FORMAT: Final = "pocketflow-otel/1"

EVENTS: Final = '\n "events": ['
"""How the field after the run summary begins."""

SPANS: Final = '\n "resourceSpans": ['
"""How the field after the events begins."""

END: Final = "]\n}\n"
"""How a whole file ends."""
