"""One run of the command line: its flags, its configuration, what it prints."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import typer
from rich.console import Console

from dca.cli.display import choose_display, make_progress
from dca.cli.flags import Flags, read_flags
from dca.cli.streams import Masked, OutputConsole
from dca.cli.terminal import one_line
from dca.config import Flags as Settings
from dca.config import Loaded, load
from dca.config.sources import shown
from dca.domain.errors import UsageError
from dca.pipeline.progress import Progress, Silent

PIPE_WIDTH = 100
"""Columns of text for people when standard output is no terminal."""
PARTIAL = 3
"""Exit code: part of the work failed; the store is consistent and running again resumes."""
BUDGET = 4
"""Exit code: a cap on dollars, tokens or time ended the work; running again goes on."""
GATE = 5
"""Exit code: a check that was asked for failed."""
MISSING = 7
"""Exit code: a key or an endpoint is missing."""
INTERRUPTED = 130
"""Exit code: interrupted by the user."""


@dataclass(slots=True)
class Run:
    """What a command gets as ``context.obj``."""

    streams: tuple[Masked, Masked]
    given: dict[str, object] = field(default_factory=dict[str, object])
    """Global flags that were given, by name."""
    verb: str = ""
    """``ls`` or ``config show``; ``""`` before it is known."""
    flags: Flags = field(default_factory=Flags)
    done_once: bool = False
    """Whether the result is printed."""
    listener: Progress = field(default_factory=Silent)
    """Shows progress and notes on standard error."""

    def begin(self, verb: str) -> None:
        """Take note of the verb once every flag is read."""
        self.verb = verb
        self.flags = read_flags(self.given, os.environ)
        if self.flags.no_color:
            os.environ["NO_COLOR"] = "1"
        self.listener = make_progress(
            choose_display(self.flags, is_terminal=sys.stderr.isatty(), environment=os.environ)
        )
        level = logging.INFO if self.flags.verbose else logging.WARNING
        logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)

    def load(self, settings: Settings | None = None) -> Loaded:
        """Read the configuration, add ``.env`` to the environment and mask every secret.

        Args:
            settings: The verb's own flags that stand for keys of ``dca.toml``.
        """
        flags = {("project", "store"): ("--store", self.flags.store), **(settings or {})}
        loaded = load(flags, file=self.flags.config)
        for stream in self.streams:
            stream.hide(loaded.secrets)
        if loaded.dotenv is not None:
            names = ", ".join(loaded.dotenv_values) or "nothing new"
            self.note(f"read {shown(loaded.dotenv)}: {names}")
            os.environ.update(loaded.dotenv_values)
        if self.flags.verbose:
            self.note(f"configuration: {shown(loaded.file) if loaded.file else 'none'}")
        return loaded

    def note(self, text: str) -> None:
        """Say one sentence on standard error, unless told to be quiet."""
        if self.flags.quiet:
            return
        if isinstance(self.listener, Silent):
            sys.stderr.write(f"{one_line(text)}\n")
        else:
            self.listener.note(text)

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be undone.

        Raises:
            UsageError: Nobody can answer, and ``--yes`` is missing.
            typer.Abort: The answer is no.
        """
        if self.flags.yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{question} nobody is there to answer", hint="add --yes")
        typer.confirm(question, abort=True, err=True)

    def done(
        self,
        fields: Mapping[str, object],
        text: Callable[[Console], None],
        *,
        exit_code: int = 0,
    ) -> None:
        """Print the result: one JSON document, or ``text`` for people; end with ``exit_code``."""
        self.done_once = True
        if self.flags.json:
            self.document(fields, exit_code)
        else:
            text(stdout_console())
        if exit_code:
            raise typer.Exit(exit_code)

    def document(self, fields: Mapping[str, object], exit_code: int) -> None:
        """Print one JSON document; unknown values are ``null``."""
        schema = f"dca.{self.verb.replace(' ', '.')}/1" if self.verb else "dca/1"
        head = {"schema": schema, "ok": exit_code == 0, "exit": exit_code}
        text = json.dumps({**head, **fields}, ensure_ascii=False, default=str)
        sys.stdout.write(_no_surrogates(text) + "\n")


def stdout_console() -> Console:
    """Return a console on standard output that reads no markup in what it prints."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    if "COLUMNS" in os.environ:
        width = None
    return OutputConsole(width=width, highlight=False, markup=False, emoji=False)


def _no_surrogates(text: str) -> str:
    """Write lone surrogates as JSON escapes: no encoding can carry them."""
    return "".join(
        f"\\u{ord(character):04x}" if "\ud800" <= character <= "\udfff" else character
        for character in text
    )


def path_or_none(path: Path | None) -> str | None:
    """Return a path for a JSON document."""
    return None if path is None else str(path)
