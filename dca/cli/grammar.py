"""The grammar: global flags before and after a verb, verbs imported when run, the help."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from dca.cli.flags import PANEL, global_options
from dca.cli.streams import ReaderGone

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every command."""

Context: TypeAlias = Any
"""Typer's context; its class is private."""
Formatter: TypeAlias = Any
"""Typer's help formatter; its class is private."""
Resolved: TypeAlias = Any
"""Name, command and remaining arguments; the command's class is private."""
Headings: TypeAlias = Mapping[str, Sequence[tuple[str, str]]]
"""Heading to its lines of name and text."""
Attribute: TypeAlias = Any
"""What typer's own constructors take."""


class Verb(TyperCommand):
    """A command that takes the global flags after its verb too."""

    def __init__(self, name: str | None, *, params: list[Any], **attributes: Attribute) -> None:
        """Add the global flags to the verb's own."""
        super().__init__(name, params=[*params, *global_options()], **attributes)

    def format_options(self, ctx: Context, formatter: Formatter) -> None:
        """Write the options under their headings, the global ones last."""
        write_options(self.get_params(ctx), ctx, formatter)

    def invoke(self, ctx: Context) -> object:
        """Read the flags, then run the command."""
        ctx.obj.begin(ctx.command_path.removeprefix("dca "))
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error


def write_options(parameters: Iterable[Any], context: Context, formatter: Formatter) -> None:
    """Write arguments and options under their headings, global options last."""
    headings: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], PANEL: []}
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is None:
            continue
        kind = "Arguments" if isinstance(parameter, TyperArgument) else "Options"
        heading = getattr(parameter, "rich_help_panel", None) or kind
        headings.setdefault(heading, []).append((record[0].removesuffix(" <bool>"), record[1]))
    headings[PANEL] = headings.pop(PANEL)
    write_sections(headings, formatter)


def write_sections(
    headings: Mapping[str, Sequence[tuple[str, str]]], formatter: Formatter
) -> None:
    """Write what is not empty, two columns each."""
    for heading, rows in headings.items():
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of ``dca --help``."""

    place: str
    """``module:function`` below ``dca.cli``."""
    help: str
    panel: str | None = None
    """Heading in the help."""

    def stub(self, name: str) -> TyperCommand:
        """Return a command for the help only."""
        return TyperCommand(name, help=self.help, rich_help_panel=self.panel)

    def load(self, name: str) -> TyperCommand:
        """Import the command."""
        module, function = self.place.split(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        command = getattr(import_module(f"dca.cli.{module}"), function)
        app.command(name, cls=Verb, context_settings=CONTEXT)(command)
        loaded = typer.main.get_command(app)
        assert isinstance(loaded, TyperCommand)  # noqa: S101 - an app with one command is one
        return loaded


class Verbs(TyperGroup):
    """A group whose commands are imported when they are run."""

    def __init__(
        self,
        name: str,
        entries: Mapping[str, Entry],
        groups: Sequence["Verbs"] = (),
        **attributes: Attribute,
    ) -> None:
        """Show ``entries`` in the help, and ``groups`` after them."""
        stubs = {key: entry.stub(key) for key, entry in entries.items()}
        super().__init__(
            name=name,
            commands={**stubs, **{group.name or "": group for group in groups}},
            params=global_options(),
            no_args_is_help=True,
            context_settings=CONTEXT,
            rich_markup_mode=None,
            **attributes,
        )
        self._entries = entries

    def format_options(self, ctx: Context, formatter: Formatter) -> None:
        """Write the verbs under their headings, then the options."""
        headings: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            heading = getattr(command, "rich_help_panel", None) or "Verbs"
            headings.setdefault(heading, []).append((name, command.help or ""))
        write_sections(headings, formatter)
        write_options(self.get_params(ctx), ctx, formatter)

    def resolve_command(self, ctx: Context, args: list[str]) -> Resolved:
        """Import the command that is asked for."""
        name = args[0]
        if name in self._entries:
            self.commands[name] = self._entries[name].load(name)
        return super().resolve_command(ctx, args)
