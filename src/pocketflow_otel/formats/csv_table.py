"""The steps of a run as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from pocketflow_otel.analysis.rows import COLUMNS, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import Trace


def csv_lines(trace: Trace) -> Iterator[str]:
    """Yield CSV: a row for each span. Lists are joined by spaces, values are JSON."""
    line = io.StringIO()
    writer = csv.writer(line)
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows(trace)]:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
