"""The folder of a run: whose it is, how far the run came, and when the run has begun.

Nothing here loads torch.
"""

import json
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dca.domain.errors import TrainingError
from training.row_files import file_digest
from training.run import TrainConfig

RUN_FILE = "run.json"
"""Settings and digests of the rows, so that a run goes on only as what it was."""
_MODEL_FILES = ("config.json", "adapter_config.json")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def check_folder(config: TrainConfig) -> None:
    """Make sure that ``config.output`` is free, or holds this very run; write nothing.

    Raises:
        TrainingError: something else is there, or the run was started on other rows, with other
            settings, or came further than ``config.steps``.
    """
    folder = config.output
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file", hint="give a folder for the trained model")
    file = folder / RUN_FILE
    if not file.exists():
        if newest_checkpoint(folder) is not None or _holds_model(folder):
            raise TrainingError(f"{folder} holds another model", hint="give another output folder")
        return
    if not config.resume:
        raise TrainingError(
            f"{folder} holds a run already", hint="--resume, or another output folder"
        )
    _refuse_another_run(folder, json.loads(file.read_text()), _facts(config))
    _, reached = newest_checkpoint(folder) or (None, 0)
    if config.steps is not None and config.steps < reached:
        raise TrainingError(
            f"{folder}: the run has done {reached} steps, more than the {config.steps} asked for",
            hint=f"give --steps above {reached}, or another output folder",
        )


@contextmanager
def begun(config: TrainConfig, *, write: bool) -> Generator[None]:
    """Make the folder this run's; give it up again when the run leaves nothing to go on from.

    Of several processes only one is to ``write``.
    """
    file = config.output / RUN_FILE
    if write:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(_facts(config), indent=1))
        part.replace(file)
    try:
        yield
    finally:
        folder = config.output
        if write and newest_checkpoint(folder) is None and not _holds_model(folder):
            file.unlink()


@contextmanager
def examples_file(folder: Path, process: int) -> Generator[Path]:
    """Yield the place for a process's examples in ``folder``; leave nothing of them behind.

    A folder that was made for them and holds nothing else afterwards goes too.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"examples-{process}.arrow"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # it holds the run
                folder.rmdir()


def newest_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """Return the newest complete checkpoint and its step, ``None`` when there is none.

    The trainer's state is written last, so a checkpoint with a readable one is complete.
    """
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint-*")
        if (match := _CHECKPOINT.fullmatch(path.name)) and _is_complete(path)
    ]
    if not found:
        return None
    step, path = max(found)
    return path, step


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _holds_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in _MODEL_FILES)


def _facts(config: TrainConfig) -> dict[str, Any]:
    return {
        "settings": config.settings(),
        "rows": [file_digest(path) for path in config.rows],
    }


def _refuse_another_run(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before["rows"] != now["rows"]:
        raise TrainingError(f"{folder}: the run was started on other rows")
    for name, value in now["settings"].items():
        old = before["settings"].get(name)
        if old != value:
            raise TrainingError(
                f"{folder}: the run was started with {name} = {old}, not {value}",
                hint="resume with the same settings, or give another output folder",
            )
