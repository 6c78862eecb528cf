"""``dca init``: a configuration to start from."""

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dca.cli.run import Run
from dca.config.sources import FILE_NAME, shown
from dca.domain.errors import UsageError

EXAMPLE = ".env.example"


class Template(StrEnum):
    """What kind of reviewers the new configuration begins with."""

    OFFLINE = "offline"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    COMPATIBLE = "openai-compatible"


def init(
    context: typer.Context,
    *,
    panel: Annotated[
        Template, typer.Option("--panel", help="Reviewers to begin with")
    ] = Template.OFFLINE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there")] = False,
) -> None:
    """Write dca.toml and .env.example.

    Both go into the working directory. Nothing is overwritten without --force.
    """
    run: Run = context.obj
    written = write_templates(Path.cwd(), panel, force=force)
    following = next_steps(panel)
    fields = {"written": [str(path) for path in written], "panel": panel.value, "next": following}

    def text(console: Console) -> None:
        for path in written:
            console.print(f"Wrote  {shown(path)}", soft_wrap=True)
        console.print()
        for number, line in enumerate(following):
            console.print(f"{'Next' if number == 0 else '    '}   {line}", soft_wrap=True)

    run.done(fields, text)


def write_templates(directory: Path, panel: Template, *, force: bool) -> list[Path]:
    """Write both files and return their paths.

    Raises:
        UsageError: One of them exists and ``force`` is not set; then neither is written.
    """
    paths = [directory / FILE_NAME, directory / EXAMPLE]
    present = [path.name for path in paths if path.exists()]
    if present and not force:
        exist, them = ("exists", "it") if len(present) == 1 else ("exist", "them")
        raise UsageError(
            f"{' and '.join(present)} {exist} already", hint=f"--force overwrites {them}"
        )
    for path, text in zip(paths, (template(panel), example(panel)), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def template(panel: Template) -> str:
    """Return a ``dca.toml`` for reviewers of one kind."""
    folder = files("dca.cli") / "templates"
    head = (folder / "head.toml").read_text("utf-8")
    name = "offline" if panel is Template.OFFLINE else "main"
    body = (folder / f"{panel.value}.toml").read_text("utf-8")
    return head.replace("@PANEL@", name) + body


def example(panel: Template) -> str:
    """Return an example of ``.env``: names of variables, no values."""
    names = {
        Template.OPENAI: ["OPENAI_API_KEY"],
        Template.ANTHROPIC: ["ANTHROPIC_API_KEY"],
        Template.COMPATIBLE: ["LOCAL_API_KEY"],
    }.get(panel, [])
    head = (
        "# Copy to .env beside dca.toml and fill in. Keep .env out of version control.\n"
        "# Variables that are set already are not changed.\n"
    )
    wanted = "".join(f"{name}=\n" for name in names)
    return head + (wanted or "# The offline panel needs no key.\n") + "# DCA_STORE=dca.db\n"


def next_steps(panel: Template) -> list[str]:
    """Return the commands that come next."""
    work = ["dca import ROLLOUTS.jsonl", "dca review"]
    if panel is Template.OFFLINE:
        return ["dca doctor", *work]
    return ["cp .env.example .env", "dca doctor --live  # contacts the endpoints", *work]
