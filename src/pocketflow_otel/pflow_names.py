"""Names that pflow gives to things, in its shared store and in the traces it writes itself.

Constants and predicates alone: by these, those who trace its runs and those who import its traces
call a thing the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKFLOW: Final = "Workflow"
"""The class of a workflow."""
SUB_WORKFLOW: Final = "WorkflowExecutor"
"""The class of the node that runs another workflow; its calls are those of the steps in there."""

WORKFLOW_FILE: Final = "_pflow_workflow_file"
"""Where a store has the path of the workflow's file."""
CACHE_SOURCE: Final = "cache_source"
"""Key of a usage that a step's cache gave back: nothing was called."""

EXCEPTION: Final = "exception"
"""The category of a failure that was raised, and not returned."""
NODE_ACTION_ERROR: Final = "node_action_error"
ROUTING_ERROR: Final = "routing_error"
TEMPLATE_ERROR: Final = "template_error"
API_WARNING: Final = "api_warning"
"""The category of an answer that an API gave instead of what it was asked for."""
WARNING: Final = "warning"
"""The category of a warning that pflow has none for; and the severity of most."""

_RETURNED: Final = {
    "HttpNode": "http_failure",
    "LLMNode": "llm_failure",
    "MCPNode": "mcp_failure",
    "ShellNode": "shell_failure",
}
_OWN: Final = ("_pflow_", "_batch_trace", "_trace_collector")
"""How keys of pflow's own begin, beside those like `__this__`."""
_INLINE: Final = "ir-hash:"
"""So begins, from 0.13 on, what stands in the place of the file of a workflow that has none."""
_SUFFIXES: Final = (".md", ".json", ".pflow")


def is_internal(key: object) -> bool:
    """Return whether a key of a store, or of what a node wrote, is pflow's own.

    >>> [is_internal(key) for key in ("__execution__", "_pflow_depth", "_batch_trace", "greet")]
    [True, True, True, False]
    """
    if type(key) is not str:
        return False
    return key.startswith(_OWN) or (key.startswith("__") and key.endswith("__"))


def returned_category(node_class: str) -> str:
    """Return what pflow, from 0.12 on, calls a failure that a node of this class returns.

    >>> returned_category("ShellNode"), returned_category("PythonCodeNode")
    ('shell_failure', 'node_action_error')
    """
    return _RETURNED.get(node_class, NODE_ACTION_ERROR)


def is_file(path: str) -> bool:
    """Return whether what pflow has in the place of a workflow's file is one: an inline workflow has none.

    >>> is_file("hello.pflow.md"), is_file("ir-hash:8e11"), is_file("")
    (True, False, False)
    """
    return bool(path) and not path.startswith(_INLINE)


def base_name(path: str) -> str:
    r"""Return the last part of a path, of whatever system it is.

    >>> base_name("/home/ada/child.pflow.md"), base_name(r"C:\flows\child.pflow.md")
    ('child.pflow.md', 'child.pflow.md')
    """
    return path.replace("\\", "/").rpartition("/")[2]


def stem(path: str) -> str:
    """Return the name of a workflow by its file.

    >>> stem("/home/ada/hello.pflow.md"), stem("hello.json"), stem("saved-one")
    ('hello', 'hello', 'saved-one')
    """
    name = base_name(path)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def warning_category(warning: Mapping[str, Any]) -> str:
    """Return the category of a warning, as what raised it has it; `warning` without one.

    Some nodes leave a dict with a `kind`, or a mere text. pflow's runner makes `Diagnostic`s of both
    and calls them `api_warning`, so that its traces have that of most; what an API answered says
    beside it whether the run went on.

    >>> warning_category({"id": "batch.empty-input"}), warning_category({"kind": "pool_timeout"})
    ('batch.empty-input', 'pool_timeout')
    >>> warning_category({"context": {"type": "api_warning", "recovered": True}})
    'api_warning'
    >>> warning_category({"context": {"type": "api_warning"}})
    'warning'

    Args:
        warning: The dict in the store, or the fields of the `Diagnostic`, or its JSON in a trace.
    """
    about = mapping(warning.get("context"))
    given = [warning.get("id"), warning.get("kind")]
    if about.get("type") == API_WARNING and "recovered" not in about:
        given.append(about.get("kind"))
    else:
        given += [about.get("type"), about.get("category"), warning.get("type")]
    return next((found for found in given if isinstance(found, str) and found), WARNING)
