"""Open files of traces, and read documents of JSON; what is wrong with either is one sentence."""

from __future__ import annotations

import codecs
import json
import os
import stat
from typing import IO, TYPE_CHECKING, Any

from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file that is not empty; another kind, a FIFO above all, is never waited for.

    Raises:
        TraceError: There is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TraceError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TraceError(f"{path} cannot be opened: {reason}") from None
    mode = os.fstat(descriptor)
    if not stat.S_ISREG(mode.st_mode) or not mode.st_size:
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(mode.st_mode) else "no regular file"
        raise TraceError(f"{path} is {'empty' if stat.S_ISREG(mode.st_mode) else kind}")
    return os.fdopen(descriptor, "rb")


def load_object(path: Path, data: bytes, *, of: str) -> dict[str, Any]:
    """Read a document.

    Args:
        path: Where it comes from.
        data: The document.
        of: Whose trace it should be.

    Raises:
        TraceError: It is no JSON object.
    """
    # A file can break off within a character: that one is left out.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        document = json.loads(decoder.decode(data))
    except json.JSONDecodeError as error:
        text = error.doc.rstrip()
        if text.lstrip()[:1] != "{":
            raise TraceError(f"{path} is no trace of {of}: it is no JSON object") from None
        cut = error.pos >= len(text) or text[-1] != "}" or error.msg.startswith("Unterminated")
        what = "breaks off" if cut else "is damaged"
        raise TraceError(f"{path} {what} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path} is damaged at byte {error.start}: no UTF-8") from None
    except RecursionError:
        raise TraceError(f"{path} is no trace of {of}: it is nested too deeply") from None
    except ValueError:
        raise TraceError(f"{path} is damaged: a number has too many digits") from None
    if not isinstance(document, dict):
        raise TraceError(f"{path} is no trace of {of}: it is no JSON object")
    return document
