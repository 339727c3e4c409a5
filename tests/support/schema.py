"""The JSON Schema of the trace file, as it is shipped."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema

SHIPPED = resources.files("pocketflow_otel.traces") / "trace.schema.json"
SCHEMA = json.loads(SHIPPED.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
