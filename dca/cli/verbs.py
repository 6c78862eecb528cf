"""The verbs: one literal table. A verb's module is imported only when the verb is run.

So ``dca --help`` loads neither the database nor any provider's client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dca.cli.flags import global_options

CONTEXT = {"help_option_names": ["-h", "--help"]}


class ReaderGone(Exception):
    """Whoever read standard output has gone."""


class Verb(TyperCommand):
    """A command that takes the global flags after its verb too."""

    def __init__(self, name: str | None, *, params: list[Any], **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        """Add the global flags to the verb's own."""
        super().__init__(name, params=[*params, *global_options()], **attributes)

    def invoke(self, ctx: typer.Context) -> object:
        """Read the flags, then run the command."""
        ctx.obj.begin(ctx.command_path.removeprefix("dca "))
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error


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
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
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
        **attributes: Any,  # noqa: ANN401 - typer's own
    ) -> None:
        """Show ``entries`` in the help, and ``groups`` after them."""
        stubs = {key: entry.stub(key) for key, entry in entries.items()}
        super().__init__(
            name=name,
            commands={**stubs, **{group.name or "": group for group in groups}},
            params=global_options(),
            no_args_is_help=True,
            context_settings=CONTEXT,
            rich_markup_mode="rich",
            **attributes,
        )
        self._entries = entries

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # noqa: ANN401 - typer's own
        """Import the command that is asked for."""
        name = args[0]
        if name in self._entries:
            self.commands[name] = self._entries[name].load(name)
        return super().resolve_command(ctx, args)


START, WORK, READ, KEEP = "Start here", "The work, in order", "Read", "Keep"

VERBS = {
    "demo": Entry(
        "demo:demo", "The whole job on bundled rollouts or your own: no key, no network.", START
    ),
    "init": Entry("initialise:init", "Write dca.toml and .env.example.", START),
    "doctor": Entry(
        "doctor:doctor", "What is installed, which keys are set, what answers.", START
    ),
    "import": Entry(
        "importing:import_", "Bring rollouts into the store; the format is detected.", WORK
    ),
    "review": Entry("review:review", "Ask the panel; running again resumes.", WORK),
    "consensus": Entry(
        "consensus:consensus", "Settle what the panel agrees on; calls no model.", WORK
    ),
    "credit": Entry(
        "credit:credit", "Put each outcome's reward where the panel says it was earned.", WORK
    ),
    "export": Entry(
        "export:export", "Write tokens, spans or SFT rows for training and analysis.", WORK
    ),
    "train": Entry("train:train", "Train a model on exported rows.", WORK),
    "ls": Entry("ls:ls", "List rollouts.", READ),
    "show": Entry("show:show", "Read one rollout as a score sheet.", READ),
}

CONFIG = {
    "show": Entry(
        "configuration:show", "Print every setting, and with --origin where it comes from."
    ),
    "path": Entry("configuration:path", "Print which files are read."),
    "check": Entry("configuration:check", "Read the configuration and say what is wrong with it."),
}

DATABASE = {
    "upgrade": Entry("database:upgrade", "Bring the store's schema to this version."),
    "backup": Entry("database:backup", "Copy the store into a new SQLite file."),
    "stats": Entry("database:stats", "Count what the store holds."),
}


def root() -> Verbs:
    """Return the whole command line."""
    groups = (
        Verbs("config", CONFIG, help="Look at the configuration.", rich_help_panel=KEEP),
        Verbs("db", DATABASE, help="Look after the store.", rich_help_panel=KEEP),
    )
    text = (
        "Deliberative credit assignment: a panel of reviewers says which thoughts did the work; "
        "where they agree, that is where the reward goes."
    )
    command = Verbs("dca", VERBS, groups, help=text)
    command.params += completion_options()
    return command


def completion_options() -> list[Any]:
    """Return typer's options that install the shell's completion."""
    return list(typer.main.get_install_completion_arguments())


def named_verb(arguments: Sequence[str]) -> str:
    """Return the verb that the arguments name, for errors found before it is run."""
    words = [word for word in arguments if not word.startswith("-")]
    for position, word in enumerate(words):
        if word in VERBS:
            return word
        nested = {"config": CONFIG, "db": DATABASE}.get(word)
        if nested is not None:
            following = words[position + 1 : position + 2]
            return " ".join([word, *(item for item in following if item in nested)])
    return ""


def asked_for_json(arguments: Sequence[str]) -> bool:
    """Tell whether ``--json`` is among the flags, for errors found before they are read."""
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in flags
