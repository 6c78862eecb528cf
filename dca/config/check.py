"""Checking tables against their models, with faults that name key, file and line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dca.config.lines import KeyPath
from dca.config.models import TABLES
from dca.config.reviewers import Table
from dca.config.sources import Source
from dca.config.suggest import did_you_mean
from dca.domain.errors import ConfigError

Checked = TypeVar("Checked", bound=Table)

HIDDEN = frozenset({"api_key_env", "base_url", "store"})
"""Keys whose refused value is not repeated: it may be a secret pasted by mistake."""
LONGEST_VALUE = 60
"""Characters of a refused value that a message repeats."""


@dataclass(slots=True)
class Faults:
    """Everything wrong with the configuration, so that one look shows all of it."""

    messages: list[str] = field(default_factory=list[str])

    def add(self, message: str) -> None:
        """Note one fault."""
        self.messages.append(message)

    def raise_any(self) -> None:
        """Raise ``ConfigError`` with one line per fault when there is any."""
        if self.messages:
            raise ConfigError("\n".join(self.messages), hint="`dca config check` reads it again")


def table_in(source: Source, path: KeyPath, value: object, faults: Faults) -> dict[str, object]:
    """Return ``value`` when it is a table, else note the fault and return an empty one."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    faults.add(f"{source.origin(path)}: {dotted(path)} must be a table: [{dotted(path)}]")
    return {}


def check_tables(source: Source, faults: Faults) -> None:
    """Note every table of ``source`` that does not exist."""
    for name in source.values:
        if name not in TABLES:
            faults.add(
                f"{source.origin((name,))}: unknown table {name}{did_you_mean(name, TABLES)}"
            )


def merge_settings(
    name: str, model: type[Table], sources: Sequence[Source], faults: Faults
) -> tuple[Table | None, Mapping[str, Source]]:
    """Take each key of one table from the first source that has it.

    Returns:
        The checked table, ``None`` when it has faults, and the source of each key that is set.
    """
    values: dict[str, object] = {}
    origins: dict[str, Source] = {}
    before = len(faults.messages)
    for source in sources:
        if name not in source.values:
            continue
        for key, value in table_in(source, (name,), source.values[name], faults).items():
            if key not in model.model_fields:
                faults.add(_unknown(source, (name, key), model))
            elif key not in values:
                values[key], origins[key] = value, source
    table = check_table(model, values, (name,), origins, faults)
    return (table if len(faults.messages) == before else None), origins


def check_table(
    model: type[Checked],
    values: Mapping[str, object],
    path: KeyPath,
    origins: Mapping[str, Source] | Source,
    faults: Faults,
) -> Checked | None:
    """Return the checked table; note its faults and return ``None`` when it has any."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            source = origins if isinstance(origins, Source) else origins[str(detail["loc"][0])]
            faults.add(_explain(detail, _innermost(detail, model, path), source))
    return None


def dotted(path: KeyPath) -> str:
    """Return ``path`` as people write it."""
    return ".".join(str(part) for part in path)


def shown_value(key: str, value: object) -> str:
    """Return `` = value`` for a message, or nothing where the value may be a secret."""
    text = repr(value)
    return "" if key in HIDDEN or len(text) > LONGEST_VALUE else f" = {text}"


def _unknown(source: Source, path: KeyPath, model: type[Table]) -> str:
    suggestion = did_you_mean(str(path[-1]), model.model_fields)
    return f"{source.origin(path)}: unknown key {dotted(path)}{suggestion}"


def _innermost(
    detail: ErrorDetails, model: type[Table], path: KeyPath
) -> tuple[type[Table], KeyPath, str]:
    """Return the table that a fault is in, its path and the key: tables may hold tables."""
    for key in map(str, detail["loc"][:-1]):
        field = model.model_fields.get(key)
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, Table)):
            return model, path, key
        model, path = inner, (*path, key)
    return model, path, str(detail["loc"][-1])


def _explain(detail: ErrorDetails, place: tuple[type[Table], KeyPath, str], source: Source) -> str:
    model, path, key = place
    here = (*path, key)
    if detail["type"] == "extra_forbidden":
        return _unknown(source, here, model)
    if detail["type"] == "missing":
        return f"{source.origin(path)}: {dotted(path)} lacks {key}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", "should", 1)
    value = shown_value(key, detail["input"])
    return f"{source.origin(here)}: {dotted(here)}{value}: {message}"
