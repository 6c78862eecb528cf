"""The flags that every command takes, before and after its verb."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperArgument, TyperOption

from dca.config.suggest import did_you_mean
from dca.domain.errors import UsageError

PANEL = "Global options"


class Display(StrEnum):
    """How progress is shown on standard error."""

    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Flags:
    """The global flags, with their ``DCA_*`` variables filled in."""

    store: str | None = None
    config: Path | None = None
    json: bool = False
    display: Display | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    yes: bool = False
    no_color: bool = False
    seed: int = 0


def read_flags(given: Mapping[str, object], environment: Mapping[str, str]) -> Flags:
    """Return the flags; what was not given comes from the environment, then the default.

    Raises:
        UsageError: A variable holds what its flag would refuse.
    """
    values = dict(given)
    config, seed = environment.get("DCA_CONFIG"), environment.get("DCA_SEED")
    display, yes = environment.get("DCA_DISPLAY"), environment.get("DCA_YES")
    if config:
        values.setdefault("config", Path(config))
    if seed:
        values.setdefault("seed", _number("DCA_SEED", seed))
    if display:
        values.setdefault("display", _display(display))
    if yes and yes.lower() not in {"0", "false", "no"}:
        values.setdefault("yes", True)
    return Flags(**values)  # pyright: ignore[reportArgumentType] - typer checked each value


def keep(context: typer.Context, parameter: typer.CallbackParam, value: object) -> None:
    """Note a flag that was given; one after the verb replaces the same one before it."""
    if value is not None and value is not False:
        context.obj.given[parameter.name] = value


def global_options() -> list[TyperArgument | TyperOption]:
    """Return the options, for the root and for every command."""
    app = typer.Typer(add_completion=False)
    app.command()(_declare)
    parameters = typer.main.get_command(app).params
    return [item for item in parameters if isinstance(item, TyperOption)]


def _option(*names: str, help_: str, metavar: str | None = None) -> object:
    return typer.Option(
        *names,
        help=help_,
        metavar=metavar,
        callback=keep,
        expose_value=False,
        show_default=False,
        rich_help_panel=PANEL,
    )


def _declare(
    *,
    store: Annotated[
        str | None,
        _option("--store", metavar="URL", help_="SQLite file or postgresql://... [DCA_STORE]"),
    ] = None,
    config: Annotated[
        Path | None,
        _option("--config", metavar="FILE", help_="Instead of the nearest dca.toml [DCA_CONFIG]"),
    ] = None,
    json: Annotated[bool, _option("--json", help_="One JSON document on standard output")] = False,
    display: Annotated[
        Display | None,
        _option("--display", help_="Progress on standard error [DCA_DISPLAY]"),
    ] = None,
    quiet: Annotated[bool, _option("--quiet", "-q", help_="No progress, no notes")] = False,
    verbose: Annotated[
        bool, _option("--verbose", "-v", help_="Say more on standard error")
    ] = False,
    debug: Annotated[bool, _option("--debug", help_="Show the traceback of an error")] = False,
    yes: Annotated[bool, _option("--yes", help_="Answer yes to every question [DCA_YES]")] = False,
    no_color: Annotated[bool, _option("--no-color", help_="No colour [NO_COLOR]")] = False,
    seed: Annotated[
        int | None, _option("--seed", metavar="N", help_="For everything random [DCA_SEED]")
    ] = None,
) -> None:
    """Declare the global flags; never called."""


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{name}={text}: is not a whole number") from error


def _display(text: str) -> Display:
    try:
        return Display(text)
    except ValueError as error:
        message = f"DCA_DISPLAY={text}: no such display{did_you_mean(text, list(Display))}"
        raise UsageError(message) from error
