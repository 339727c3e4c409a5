"""Tell a journal whose process lives from one whose process is gone: by a lock, never by a guess.

The writer holds an exclusive `flock` on its journal from before the first line until the trace file
is in its place. The kernel lets go of it when the process ends, however that comes about.

`flock`, not `lockf`: a lock of `lockf` goes when any descriptor of the file is closed anywhere in the
process, which `finalize` and retention do. A lock of `flock` belongs to the open file, which a forked
child inherits and would keep alive beyond its parent; so children close their copy first of all
(closing leaves the parent's lock, `LOCK_UN` would not). A child that C code forked without Python's
knowledge may keep a dead run `running`: the safe error.

Where a file system knows no locks, nobody can tell, and every journal counts as running.
"""

from __future__ import annotations

import errno
import fcntl
import os
from time import sleep
from typing import TYPE_CHECKING, Final

from pocketflow_otel.guard import let_through, quiet

if TYPE_CHECKING:
    from pathlib import Path

_held: Final[set[int]] = set()
"""Descriptors of the journals this process writes."""

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_TRIES, _PAUSE = 50, 0.001


def hold(descriptor: int) -> None:
    """Lock a new journal for this process's life.

    A reader that looks at this very moment holds it for microseconds; then try again.

    Raises:
        OSError: Somebody keeps it locked.
    """
    _held.add(descriptor)  # First: a fork in another thread may come any time.
    try:
        _lock(descriptor)
    except BaseException:
        _held.discard(descriptor)
        raise


def _lock(descriptor: int) -> None:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            let_through(error)
            if error.errno in _NO_LOCKS:
                return
            if attempt == _TRIES - 1:
                raise
            sleep(_PAUSE)
        else:
            return


def release(descriptor: int) -> None:
    """Close a journal, and so let go of its lock."""
    if descriptor in _held:  # Not so in a forked child, which has closed it.
        try:
            _held.discard(descriptor)
        finally:  # Once it is not in there, nobody else will.
            os.close(descriptor)


def _close_inherited() -> None:
    """In a forked child: the journals are the parent's."""
    while _held:
        with quiet(OSError):
            os.close(_held.pop())


os.register_at_fork(after_in_child=_close_inherited)


def is_running(path: Path) -> bool:
    """Return whether the process that writes a journal lives, or nobody can tell.

    Raises:
        OSError: The journal cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        let_through(error)
        return True
    finally:
        os.close(descriptor)
    return False
