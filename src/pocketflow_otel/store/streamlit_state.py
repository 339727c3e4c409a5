"""List Streamlit's `st.session_state`, which stands for a session that the thread has.

Its own methods may end the script, for a rerun that the user's click asked for: so what they would
read is read past them. Where a release keeps it otherwise, the store is one that cannot be listed.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

from pocketflow_otel.store import own_stores
from pocketflow_otel.store.introspection import namespace_of, plain_key
from pocketflow_otel.store.redaction import name_of

_STATE: Final = "streamlit.runtime.state.session_state"
_PROXY: Final = "streamlit.runtime.state.session_state_proxy"
_CONTEXT: Final = "streamlit_script_run_ctx"
_INTERNAL: Final = "$$"
"""How keys begin that are Streamlit's own: ids of widgets without a key, say."""


def is_proxy(kind: type) -> bool:
    """Return whether a type is that of `st.session_state`."""
    return _is(kind, _PROXY, "SessionStateProxy")


def is_session(kind: type) -> bool:
    """Return whether a type is that of the state of one session, which `current_session` returns."""
    return _is(kind, _STATE, "SessionState")


def current_session() -> object:
    """Return the state of this thread's session; without a session, the one that Streamlit puts there."""
    context = _attribute(threading.current_thread(), _CONTEXT)
    if context is None:
        module = sys.modules.get(_PROXY)
        safe = None if module is None else module.__dict__.get("_mock_session_state")
    else:
        safe = _attribute(context, "session_state")
    return _attribute(safe, "_state")


def items_of(session: object) -> dict[Any, object] | None:
    """Return what `st.session_state` has: what the script set, and the values of widgets with a key.

    A widget whose value the script has not read yet is left out.
    """
    old = _attribute(session, "_old_state")
    new = _attribute(session, "_new_session_state")
    widgets = _attribute(_attribute(session, "_new_widget_state"), "states")
    keys = _attribute(_attribute(session, "_key_id_mapper"), "_id_key_mapping")
    if not all(type(part) is dict for part in (old, new, widgets, keys)):
        return None
    values = {
        name: value
        for name, state in widgets.copy().items()
        if (value := _attribute(state, "value")) is not None and name_of(type(state)) == "Value"
    }
    shown = {keys.get(name, name): value for part in (old, values) for name, value in part.copy().items()}
    return {
        plain_key(name): value
        for name, value in (shown | new).items()
        if not (type(name) is str and name.startswith(_INTERNAL))
    }


def _is(kind: type, module: str, name: str) -> bool:
    return name_of(kind) == name and namespace_of(kind).get("__module__") == module


def _attribute(thing: Any, name: str) -> Any:
    return (own_stores.attributes_of(thing) or {}).get(name)
