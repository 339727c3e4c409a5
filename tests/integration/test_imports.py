"""What a process loads, and what it does not have to: each question in a process of its own."""

from __future__ import annotations

import json

import pytest
from tests.support.processes import PYTHON, run

HEAVY = ("click", "rich", "jinja2", "genai_prices", "pydantic", "pocketflow", "pflow", "wcwidth")


@pytest.mark.parametrize(
    "statement",
    [
        "import pocketflow_otel",
        "import pocketflow_otel.instrument.instrumentor",
        "import pocketflow_otel.traces.finalize, pocketflow_otel.views.wording",
    ],
)
def test_an_import_loads_nothing_heavy(statement: str) -> None:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run(PYTHON, "-c", code).stdout)

    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []


def test_help_loads_neither_the_sdk_nor_pocketflow() -> None:
    program = (
        "import sys\n"
        "from pocketflow_otel.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'genai_prices', 'google.protobuf', 'opentelemetry.sdk', 'pocketflow', 'pydantic', 'rich'}\n"
        "heavy.add('wcwidth')\n"
        "print(heavy & {*sys.modules})"
    )
    done = run(PYTHON, "-c", program)
    assert done.stdout.startswith("Usage: ")
    assert done.stdout.splitlines()[-1] == "set()"


IMPORTS = """
import sys
import pocketflow, pocketflow_otel
from pocketflow_otel.testing import capture_spans

class Plain(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        shared["n"] = 1
        pocketflow_otel.record_usage({})  # It says so, and that is all.

with capture_spans() as captured:
    pocketflow.Flow(start=Plain()).run({"llm_usage": {"prompt_tokens": 7, "model": "gpt-4o"}})
assert len(captured.spans) == 2
print([name for name in ("genai_prices", "pydantic") if name in sys.modules])
"""


def test_a_flow_without_calls_never_loads_the_table() -> None:
    done = run(PYTHON, "-c", IMPORTS)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


LOADS = """
import sys
from datetime import datetime, UTC
from pocketflow_otel.usage.pricing import PriceBook
from pocketflow_otel.usage.payloads import Usage

book, now = PriceBook(), datetime.now(UTC)
book.load()
book.wait()
clients = [name for name in ("httpx", "httpx2", "httpcore", "httpcore2") if name in sys.modules]
price = book.price(Usage(100, 50, model="gpt-4o-mini"), now)

import genai_prices
from genai_prices.update_prices import UpdatePrices
same = type(genai_prices.UpdatePrices()) is UpdatePrices
print(clients, price, same)
"""


def test_loading_the_table_imports_no_http_client_which_others_may_be_importing_just_then() -> None:
    done = run(PYTHON, "-c", LOADS)
    assert (done.returncode, done.stdout) == (0, "[] 0.000045 True\n"), done.stderr


TOLD = """
import sys
import pocketflow, pocketflow_otel
from pocketflow_otel.usage import pricing
from pocketflow_otel.testing import capture_spans

class Paid(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        pocketflow_otel.record_usage({"prompt_tokens": 7, "completion_tokens": 1, "model": "m", "cost": 0.5})
        shared["llm_usage"] = {"input_tokens": 9, "output_tokens": 2, "model": "m", "cost_usd": 0.25}

with capture_spans() as captured:
    pocketflow.Flow(start=Paid()).run({})
print(captured.spans[-1].attributes["pocketflow.cost.usd"], pricing.table._thread)
"""


def test_calls_whose_cost_is_told_never_load_the_table() -> None:
    done = run(PYTHON, "-c", TOLD)
    assert (done.returncode, done.stdout) == (0, "0.75 None\n"), done.stderr
