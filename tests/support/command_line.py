"""The commands, in the test's own process."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner

from pocketflow_otel.cli.main import main


def run(*arguments: object, **options: Any) -> Any:
    """Run a command, and return its result; a traceback is never one."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result
