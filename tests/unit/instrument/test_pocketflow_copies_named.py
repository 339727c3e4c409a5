"""Copies under other names: those that a program imports, hands on, pastes, or makes by hand."""

from __future__ import annotations

import builtins
import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from tests.support.instrumented import Ask, Spans
from tests.support.own_copies import COPY
from tests.support.processes import write

from pocketflow_otel import Config, PocketFlowInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE, _, FLOW = COPY.partition("class Flow(")
FLOW = f"class Flow({FLOW}"
OWN = {"mypkg", "split", "ns", "handed", "framework", "alias", "by_hand", "next_one", "half"}
"""The modules that tests make."""


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Import from a folder of the test's own, and forget it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in list(sys.modules):
        if name.partition(".")[0] in OWN:
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mypkg" / "__init__.py", "")
    write(tmp_path / "mypkg" / "pocketflow.py", COPY)
    return tmp_path


@pytest.fixture
def spans() -> Spans:
    return Spans()


def traced(spans: Spans, instrumentor: PocketFlowInstrumentor, *modules: str | ModuleType) -> None:
    instrumentor.instrument(tracer_provider=spans.provider, config=Config(), module=modules)


def run_flow(module: Any) -> None:
    greet = type("Greet", (module.Node,), {"__module__": "program"})
    type("Mine", (module.Flow,), {})(start=greet()).run({})


BOTH = ["invoke_node Greet", "invoke_workflow Mine"]


# Which modules


@pytest.mark.parametrize("given", ["mypkg.pocketflow", ["mypkg.pocketflow"], ("other", "mypkg.pocketflow")])
def test_a_module_that_is_imported_later(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, given: Any
) -> None:
    instrumentor.instrument(tracer_provider=spans.provider, config=Config(), module=given)
    run_flow(importlib.import_module("mypkg.pocketflow"))

    assert spans.names == BOTH


@pytest.mark.parametrize("by_name", [True, False])
def test_a_module_that_has_been_imported(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, *, by_name: bool
) -> None:
    module = importlib.import_module("mypkg.pocketflow")
    traced(spans, instrumentor, "mypkg.pocketflow" if by_name else module)
    run_flow(module)

    assert spans.names == BOTH


def test_the_variable_names_modules(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_MODULES", "other, mypkg.pocketflow")
    instrumentor.instrument(tracer_provider=spans.provider)
    run_flow(importlib.import_module("mypkg.pocketflow"))

    assert spans.names == BOTH


def test_pocketflow_itself_is_traced_all_the_same(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    traced(spans, instrumentor, "mypkg.pocketflow")
    Ask().run({})

    assert spans.names == ["invoke_node Ask"]


def test_modules_may_be_added_while_tracing_is_on(
    folder: Path,
    spans: Spans,
    instrumentor: PocketFlowInstrumentor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    traced(spans, instrumentor)
    instrumentor.instrument(module="mypkg.pocketflow")
    run_flow(importlib.import_module("mypkg.pocketflow"))

    assert (spans.names, caplog.messages) == (BOTH, [])


def test_what_has_been_added_is_put_back(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    module = importlib.import_module("mypkg.pocketflow")
    before = {cls: dict(vars(cls)) for cls in (module.BaseNode, module.Node, module.Flow)}
    traced(spans, instrumentor)
    instrumentor.instrument(module=module)
    patched = vars(module.BaseNode)["_run"]
    instrumentor.uninstrument()

    assert patched is not before[module.BaseNode]["_run"]
    assert {cls: dict(vars(cls)) for cls in before} == before


def test_a_package_that_hands_on_what_its_module_defines(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    write(folder / "mypkg" / "__init__.py", "from .pocketflow import Flow, Node as Step\n")
    traced(spans, instrumentor, "mypkg")
    package = importlib.import_module("mypkg")
    run_flow(importlib.import_module("mypkg.pocketflow"))
    package.Step().run({})

    assert spans.names == [*BOTH, "invoke_node Node"]


def test_a_package_whose_modules_share_the_classes_out(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    write(folder / "split" / "nodes.py", BASE)
    write(folder / "split" / "flows.py", f"import copy\nfrom split.nodes import BaseNode\n{FLOW}")
    write(folder / "split" / "__init__.py", "from .flows import Flow\nfrom .nodes import Node\n")
    traced(spans, instrumentor, "split")
    run_flow(importlib.import_module("split"))

    assert spans.names == BOTH


@pytest.mark.parametrize("named", [["ns.inner.copied"], ["ns.inner.copied", "ns.user"]])
def test_a_module_in_a_namespace_package(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, named: list[str]
) -> None:
    write(folder / "ns" / "inner" / "copied.py", COPY)
    write(folder / "ns" / "user.py", "from ns.inner.copied import Flow, Node\n")
    traced(spans, instrumentor, *named)
    run_flow(importlib.import_module("ns.user"))

    assert spans.names == BOTH


@pytest.mark.parametrize("hands_on", ["from pocketflow import *", "from pocketflow import Flow, Node"])
def test_what_hands_on_pocketflow_is_not_traced_twice(
    folder: Path,
    spans: Spans,
    instrumentor: PocketFlowInstrumentor,
    caplog: pytest.LogCaptureFixture,
    hands_on: str,
) -> None:
    write(folder / "handed.py", hands_on)
    traced(spans, instrumentor, "handed")
    patched = dict(vars(pocketflow.Flow))
    run_flow(importlib.import_module("handed"))

    assert (spans.names, caplog.messages) == (BOTH, [])
    assert dict(vars(pocketflow.Flow)) == patched


def test_a_framework_whose_nodes_inherit_from_pocketflows_is_no_copy(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    text = "import pocketflow\nclass Node(pocketflow.Node): ...\nclass BatchNode(Node): ...\n"
    write(folder / "framework.py", text + "class Flow(pocketflow.Flow): ...\n")
    traced(spans, instrumentor, "framework")
    own = vars(pocketflow.BatchNode)["_exec"]
    framework = importlib.import_module("framework")
    run_flow(framework)

    assert spans.names == BOTH
    assert vars(pocketflow.BatchNode)["_exec"] is own


def test_a_framework_with_a_copy_inside_may_have_nodes_of_the_same_names(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    text = "from mypkg import pocketflow as p\nclass Node(p.Node): ...\nclass Flow(p.Flow): ...\n"
    write(folder / "framework.py", text)
    traced(spans, instrumentor, "framework")
    run_flow(importlib.import_module("framework"))
    run_flow(importlib.import_module("mypkg.pocketflow"))

    assert spans.names == BOTH * 2


def test_a_copy_that_is_imported_under_two_names_is_traced_once(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    traced(spans, instrumentor, "mypkg.pocketflow", "alias")
    sys.modules["alias"] = importlib.import_module("mypkg.pocketflow")
    run_flow(importlib.import_module("alias"))

    assert spans.names == BOTH


def made_by_hand(name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    exec(COPY, vars(module))
    return module


def test_a_module_that_was_made_by_hand_before(spans: Spans, instrumentor: PocketFlowInstrumentor) -> None:
    module = made_by_hand("by_hand")
    traced(spans, instrumentor, "by_hand")
    run_flow(module)

    assert spans.names == BOTH


def test_a_module_that_is_made_by_hand_is_seen_when_the_next_is_imported(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder / "next_one.py", "")
    traced(spans, instrumentor, "by_hand")
    module = made_by_hand("by_hand")
    importlib.import_module("next_one")
    run_flow(module)

    assert (spans.names, caplog.messages) == (BOTH, [])


def test_a_module_that_is_no_longer_in_use_can_be_given(
    spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    module = made_by_hand("by_hand")
    del sys.modules["by_hand"]
    traced(spans, instrumentor, module)
    run_flow(module)

    assert spans.names == BOTH


# What is said


def test_a_module_without_pocketflow_is_told_in_one_line(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    traced(spans, instrumentor, "mypkg")
    importlib.import_module("mypkg")

    (line,) = caplog.messages
    assert line == (
        f"mypkg at {folder / 'mypkg' / '__init__.py'} is not PocketFlow, and not traced: "
        "it has no Flow and no Node that runs"
    )


def test_what_a_copy_lacks_is_told_by_its_name(
    folder: Path, spans: Spans, instrumentor: PocketFlowInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(folder / "half.py", BASE)
    traced(spans, instrumentor, "half")
    importlib.import_module("half")

    assert caplog.messages == [
        f"half at {file} is not as pocketflow-otel knows it: without Flow, a part of a run is not traced"
    ]


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("modules", ": did you mean module?"),
        ("traces_provider", ": did you mean tracer_provider?"),
        (
            "x",
            (
                ", only config, logger_provider, meter_provider, module, raise_exception_on_conflict, "
                "skip_dep_check, tracer_provider"
            ),
        ),
    ],
)
def test_a_keyword_that_there_is_not_is_refused(
    instrumentor: PocketFlowInstrumentor, keyword: str, hint: str
) -> None:
    with pytest.raises(TypeError) as refused:
        instrumentor.instrument(**{keyword: "mypkg"})

    assert str(refused.value) == f"instrument() takes no {keyword!r}{hint}"
    assert not instrumentor.is_instrumented_by_opentelemetry


@pytest.mark.parametrize(
    "given", ["mypkg/pocketflow.py", "pocketflow.py", ".pocketflow", "a b", "", 7, [None]]
)
def test_what_is_no_module_is_refused(instrumentor: PocketFlowInstrumentor, given: Any) -> None:
    with pytest.raises(ValueError, match=r"give modules, by name as in `import mypkg\.pocketflow`"):
        instrumentor.instrument(module=given)

    assert not instrumentor.is_instrumented_by_opentelemetry


# The main module


def test_classes_of_the_main_module_are_traced_as_they_are_defined(
    spans: Spans, instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    main: Any = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    statement = builtins.__build_class__
    traced(spans, instrumentor, "__main__")
    listening = builtins.__build_class__
    exec(COPY, vars(main))
    exec("class Greet(Node): pass\nclass Mine(Flow): pass\nMine(start=Greet()).run({})", vars(main))

    assert spans.names == BOTH
    assert listening is not statement
    assert builtins.__build_class__ is statement


def test_classes_that_the_main_module_has_are_traced_at_once(
    spans: Spans, instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    main: Any = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(COPY, vars(main))
    statement = builtins.__build_class__
    traced(spans, instrumentor, "__main__")
    run_flow(main)

    assert spans.names == BOTH
    assert builtins.__build_class__ is statement


def test_the_main_module_may_define_its_classes_anew(
    spans: Spans, instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    main: Any = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(COPY, vars(main))
    traced(spans, instrumentor, "__main__")
    exec(COPY, vars(main))
    instrumentor.instrument(module="__main__")
    run_flow(main)

    assert spans.names == BOTH


def test_switching_off_leaves_class_statements_alone(
    spans: Spans, instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    statement = builtins.__build_class__
    traced(spans, instrumentor, "__main__")
    instrumentor.uninstrument()

    assert builtins.__build_class__ is statement
