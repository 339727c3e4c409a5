"""Find what the author's code calls a flow: a variable, what builds it, the program.

A title has few values, whatever data the program has: it comes from what is written in the code,
and never from a counter, a key that was computed or the id of an object. Where one place in the code
may build different flows (in a loop, or by a function's arguments) the title does not stand alone:
the node a flow starts with joins it.
"""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.instrument.bindings import CallSite, CodeInfo, code_of
from pocketflow_otel.pocketflow_names import FLOWS
from pocketflow_otel.user_code import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

Title = tuple[str, bool]
"""A name, maybe empty, and whether it stands alone."""

_MAX_DEPTH: Final = 8

_BUILDS: Final = re.compile(r"^_*(?:create|build|make|get|new|construct|setup|init|define)_+(?=\w)")

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")

_KINDS: Final = """
    flow flows subflow subflows workflow workflows wf graph graphs pipeline pipelines pocketflow
    """
_DEEDS: Final = """
    app application run runs runner running exec execute execution start invoke process
    handle handler create build builder make maker get new init setup construct define factory
    prep post fallback wrapper wrapped wrap decorated decorator
    """
_FILES: Final = """
    main module package program project script server service worker wsgi asgi api web cli index core
    lib src code notebook utils util helpers common untitled demo example examples sample
    test tests tmp temp
    """
_FILLERS: Final = """
    my the a an this self cls root base default simple basic custom async sync batch parallel nested sub
    obj object instance result results res ret rv retval value item it thing func fn f g x y
    tuple list dict set
    """
_SAY_NOTHING: Final = frozenset(f"{_KINDS}{_DEEDS}{_FILES}{_FILLERS}".split())
"""A name made of nothing but these would fit any flow."""

_FOLDERS: Final = """
    src source app apps lib libs code python py main flow flows workflow workflows project projects
    repo repos test tests tmp temp var folders work workspace workspaces home users root opt srv usr mnt
    bin scripts dist build release releases current site packages desktop documents downloads
    """
_PLACES: Final = frozenset(_FOLDERS.split())
"""Folders that tell no programs apart, as `/app` in a container."""

_MADE_UP: Final = re.compile(r"tmp\w{8}|tmp[.-].*|ipykernel_.*|[\W\d_]*|[0-9a-f-]{7,}", re.IGNORECASE)
"""Folders that have another name the next time."""

_STEP_METHODS: Final = frozenset(
    f"{name}{kind}" for name in ("prep", "exec", "post", "exec_fallback", "_run") for kind in ("", "_async")
)
_RUNS: Final = frozenset({"run", "run_async"})
_ORCHESTRATE: Final = frozenset({"_orch", "_orch_async"})
_CHAINS: Final = frozenset({"__init__", "__new__", "__call__"})
_OURS: Final = frozenset({"pocketflow", "pocketflow_otel"})


@lru_cache(maxsize=1024)
def says_nothing(name: str) -> bool:
    """Return whether a name would fit any flow.

    >>> [name for name in ("my_flow", "flow2", "MainFlow", "chat_flow", "f", "qa") if says_nothing(name)]
    ['my_flow', 'flow2', 'MainFlow', 'f']
    """
    return all(word.lower() in _SAY_NOTHING for word in _WORD.findall(name))


def title_when_built(frame: FrameType | None) -> Title:
    """Return the title of a flow that is being built.

    Args:
        frame: The frame that called its constructor.
    """
    frame = _past_subclasses(frame)
    first, various = frame, False
    for _ in range(_MAX_DEPTH):
        if frame is None or (frame is not first and _is_library(frame)):
            break
        code = code_of(frame)
        call = code.at(frame.f_lasti)
        if call is None:
            break
        differs = code.parameters or code.results > 1
        if call.returned and (name := _built_by(frame.f_code.co_name)):
            return name, not differs
        if name := _first_specific(call.bound):
            again = call.repeated or sum(name in other.bound for other in code.calls.values()) > 1
            return name.strip("_"), not (again or ((various or call.returned) and differs))
        if not call.returned:
            break
        various |= differs
        frame = frame.f_back
    return _title_of_place(first) if first is not None else ("", False)


def _is_library(frame: FrameType) -> bool:
    """Return whether a frame says nothing of the program: that of PocketFlow, or of an installed package."""
    return _is_ours(frame) or is_installed(frame.f_code.co_filename)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS


def _past_subclasses(frame: FrameType | None) -> FrameType | None:
    """Pass over constructors of subclasses, which call the one of their superclass."""
    while frame is not None and frame.f_code.co_name in _CHAINS:
        call = code_of(frame).at(frame.f_lasti)
        if call is None or call.function not in _CHAINS:
            break
        frame = frame.f_back
    return frame


def _built_by(function: str) -> str:
    """Return what a function builds: `create_qa_flow` builds `qa_flow`; empty if that says nothing."""
    name = _BUILDS.sub("", function).strip("_")
    return "" if function.startswith(("<", "__")) or says_nothing(name) else name


def _first_specific(names: Iterable[str]) -> str:
    return next((name for name in names if name.isidentifier() and not says_nothing(name)), "")


def _title_of_place(frame: FrameType) -> Title:
    """Return a title from where a flow is built: the function, its class, the file or its folder."""
    inmost, *outer = reversed(frame.f_code.co_qualname.split("."))
    code = code_of(frame)
    call = code.at(frame.f_lasti)
    alone = not code.parameters and _builds_one(code, call)
    if inmost in _STEP_METHODS:
        outer = outer[1:]  # Nor is a flow called what the node around it is called.
    elif name := _built_by(inmost):
        return name, alone
    for part in outer:
        if name := _built_by(part):
            return name, False
    name, own = _program(_file_of(frame))
    return name, own and alone and inmost in ("<module>", "main")


def _builds_one(code: CodeInfo, call: CallSite | None) -> bool:
    """Return whether a function's code builds one flow and no other."""
    if call is None or call.repeated:
        return False
    constructors = {*FLOWS, call.function} - {""}
    return sum(other.function in constructors for other in code.calls.values()) <= 1


def _file_of(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    return "" if file.startswith("<") else str(Path(file).absolute())


@lru_cache(maxsize=256)
def _program(file: str) -> Title:
    """Return the name of a program's file, else of its folder, and whether it is the file's."""
    path = PurePath(file)
    if file and not says_nothing(path.stem) and not _MADE_UP.fullmatch(path.stem):
        return path.stem, True
    home = PurePath(os.environ.get("HOME", ""))
    for folder in path.parents:
        if folder == home or folder.parent.name.lower() in ("home", "users"):
            break  # It would be the name of a person.
        if folder.name and folder.name.lower() not in _PLACES and not _MADE_UP.fullmatch(folder.name):
            return folder.name, False
    return "", False


def title_when_run(flow: Any, start: Any, frame: FrameType | None) -> Title:
    """Return the title of a flow that was built before tracing began.

    Args:
        flow: The flow, or a copy.
        start: The first of its nodes that is no flow.
        frame: A frame in which it runs, and from which its caller is looked for.
    """
    caller, direct = _caller(frame)
    if caller is not None:
        if direct and (title := _title_of_receiver(caller)):
            return title
        loops = code_of(caller).loops if caller.f_code.co_name == "<module>" else ()
        if name := _first_specific(name for name in _names_in(caller.f_globals, flow) if name not in loops):
            return name.strip("_"), True
    space = _globals_of(type(start).__module__) if start is not None else {}
    for others in (space, _globals_of("__main__")):
        if name := _first_specific(_names_in(others, flow)):
            return name.strip("_"), True
    file = space.get("__file__")
    return _program(str(Path(file).absolute()) if type(file) is str else "")[0], False


def _caller(frame: FrameType | None) -> tuple[FrameType | None, bool]:
    """Return the frame of the program that runs a flow, and whether it has called the flow itself."""
    direct = None
    while frame is not None and _is_ours(frame):
        if direct is None and frame.f_code.co_name in _ORCHESTRATE | _RUNS:
            direct = frame.f_code.co_name in _RUNS
        frame = frame.f_back
    if frame is None or _is_library(frame):
        return None, False
    return frame, direct is True


def _globals_of(module: str) -> dict[str, Any]:
    found = sys.modules.get(module)
    return {} if found is None else vars(found)


def _title_of_receiver(frame: FrameType) -> Title | None:
    """Return what code calls the flow it runs: `qa_flow` in `flow = create_qa_flow(); flow.run(shared)`."""
    code = code_of(frame)
    call = code.at(frame.f_lasti)
    if call is None or call.function not in _RUNS:
        return None
    sources = [source for source in code.calls.values() if call.receiver in source.bound]
    builders = {source.function for source in sources}.difference(FLOWS)
    if len(builders) == 1 and (name := _built_by(builders.pop())):
        return name, len(sources) == 1 and sources[0].bare
    name = _first_specific([call.receiver]) if sources else ""  # Else an argument, say, of a helper.
    return (name.strip("_"), len(sources) == 1 and not sources[0].repeated) if name else None


def _names_in(space: dict[str, Any], flow: Any) -> Iterator[str]:
    """Yield the globals that are the flow, or what it was copied from."""
    successors = flow.__dict__.get("successors")
    for name, value in list(dict.items(space)):
        if type(value) is not type(flow):
            continue
        if value is flow or value.__dict__.get("successors", flow) is successors:
            yield name
