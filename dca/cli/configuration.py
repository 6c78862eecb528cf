"""``dca config``: look at the configuration."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from dca.cli.run import Run, path_or_none
from dca.cli.tables import print_table
from dca.cli.terminal import one_line
from dca.config import Loaded, Setting
from dca.config.sources import shown
from store.engine import safe_url


def show(
    context: typer.Context,
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Print where each value comes from")
    ] = False,
) -> None:
    """Print every setting, and with --origin where it comes from."""
    run: Run = context.obj
    settings = presentable(run.load())
    fields = {
        "settings": [
            {"key": item.key, "value": item.value, "origin": item.origin} for item in settings
        ]
    }
    run.done(fields, lambda console: print_settings(console, settings, origin=origin))


def path(context: typer.Context) -> None:
    """Print which files are read."""
    run: Run = context.obj
    loaded = run.load()
    files = {
        "project": path_or_none(loaded.file),
        "user": path_or_none(loaded.user_file),
        "dotenv": path_or_none(loaded.dotenv),
    }

    def text(console: Console) -> None:
        for name, file in files.items():
            console.print(f"{name:8}{file or 'none'}", soft_wrap=True)

    run.done({"files": files}, text)


def check(context: typer.Context) -> None:
    """Read the configuration and say what is wrong with it.

    Exit code 2 when something is.
    """
    run: Run = context.obj
    loaded = run.load()
    name = shown(loaded.file) if loaded.file else "no dca.toml: defaults only"
    run.done(
        {"file": path_or_none(loaded.file), "set": len(loaded.origins)},
        lambda console: console.print(f"{name}: in order", soft_wrap=True),
    )


def presentable(loaded: Loaded) -> list[Setting]:
    """Return the settings with the store's password as ``***``."""
    store = safe_url(loaded.config.project.store)
    return [
        Setting(item.key, store, item.origin) if item.key == "project.store" else item
        for item in loaded.settings()
    ]


def print_settings(console: Console, settings: Sequence[Setting], *, origin: bool) -> None:
    """Print one setting per line as in TOML; what is not set is marked so."""
    rows = [
        (item.key, _value(item.value), *([item.origin] if origin else [])) for item in settings
    ]
    print_table(console, ("", "", *([""] if origin else [])), rows)


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return one_line(str(value))
