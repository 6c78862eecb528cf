"""The command line: the only place that prints. ``dca.cli:main`` is the command ``dca``."""

import sys
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from dca.cli.run import INTERRUPTED, Run
from dca.cli.streams import ReaderGone, abandon_stdout, masked_streams
from dca.cli.terminal import visible
from dca.cli.verbs import asked_for_json, named_verb, root
from dca.domain.errors import DcaError, UsageError

BUG = 1
"""Exit code: an unexpected error, or a question answered with no."""
READER_GONE = 141
"""Exit code: whoever read standard output has gone; 128 and the signal, as of any tool."""


def main() -> None:
    """Run one command and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    with masked_streams() as streams:
        try:
            code = _invoke(arguments, Run(streams))
            sys.stdout.flush()
        except (ReaderGone, BrokenPipeError):
            abandon_stdout()
            return READER_GONE
        return code


def _invoke(arguments: Sequence[str], current: Run) -> int:
    """Run the command; every error becomes a line on standard error and an exit code."""
    try:
        code = root().main(
            args=list(arguments), prog_name="dca", standalone_mode=False, obj=current
        )
    except ReaderGone:
        raise
    except TyperException as error:
        return _misused(arguments, current, error)
    except (DcaError, typer.Abort, KeyboardInterrupt) as error:
        return _fail(arguments, current, error)
    except SystemExit as error:
        # Typer's answer to a help text that nobody reads any more.
        raise ReaderGone from error
    except Exception as error:  # noqa: BLE001 - the last place where a bug can be shown in one line
        hint = "this is a bug; run again with --debug for the traceback"
        return _fail(arguments, current, error, hint)
    if code == INTERRUPTED and not current.done_once:
        return _fail(arguments, current, KeyboardInterrupt())
    return code if isinstance(code, int) else 0


def _misused(arguments: Sequence[str], current: Run, error: TyperException) -> int:
    """Report a command line that cannot be read; one without a verb has shown the help."""
    message = error.format_message()
    if message.startswith("Usage: "):
        sys.stderr.write(f"{message}\n")
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "dca"
    return _fail(arguments, current, UsageError(message.rstrip(".")), f"see `{path} --help`")


def _fail(
    arguments: Sequence[str], current: Run, error: BaseException, hint: str | None = None
) -> int:
    """Print an error in one line, its hint, and as a document when one was asked for."""
    current.listener.finish()
    code, message = _code(error), _message(error)
    hint = hint or getattr(error, "hint", None)
    for line in message.split("\n"):
        sys.stderr.write(f"dca: {visible(line)}\n")
    if hint:
        sys.stderr.write(f"     {visible(hint)}\n")
    if "--debug" in arguments:
        sys.stderr.write(visible("".join(traceback.format_exception(error))))
    if asked_for_json(arguments):
        current.verb = current.verb or named_verb(arguments)
        kind = type(error).__name__
        current.document({"error": {"kind": kind, "message": message, "hint": hint}}, code)
    return code


def _code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, DcaError) else BUG


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, typer.Abort):
        return "stopped: the answer was no"
    if isinstance(error, DcaError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}".rstrip(": ")
