"""Where settings come from: flags, the environment, ``.env``, ``dca.toml``, the user's file."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args, get_origin

from dca.config.lines import KeyPath, line_of, locate
from dca.config.models import SETTINGS
from dca.config.suggest import did_you_mean
from dca.domain.errors import ConfigError

FILE_NAME = "dca.toml"
DOTENV_NAME = ".env"
SHORT_NAMES = {
    "DCA_STORE": "store",
    "DCA_TOKENIZER": "tokenizer",
    "DCA_LABELS": "labels",
    "DCA_SUCCESS_AT": "success_at",
}
"""Keys of ``[project]`` have the short names that people type most."""
ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Source:
    """One place that holds settings. Never shown whole: it can hold what is secret."""

    values: Mapping[str, object] = field(repr=False)
    """Tables by name, as TOML gives them."""
    base: Path
    """Directory that relative paths start from."""
    file: Path | None = None
    """The TOML file; ``None`` for flags and the environment."""
    lines: Mapping[KeyPath, int] = field(default_factory=dict[KeyPath, int], repr=False)
    names: Mapping[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    """What a key is called where there are no lines: ``--store``, ``DCA_STORE``."""

    def origin(self, path: KeyPath) -> str:
        """Return where ``path`` is set, as shown to people."""
        if self.file is None:
            return self.names[path]
        return f"{shown(self.file)}:{line_of(dict(self.lines), path)}"


def shown(path: Path) -> str:
    """Return ``path`` relative to the working directory where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def nearest_file(start: Path) -> Path | None:
    """Return the nearest ``dca.toml`` in ``start`` or a directory above it."""
    for directory in (start, *start.parents):
        if (directory / FILE_NAME).is_file():
            return directory / FILE_NAME
    return None


def user_file(environment: Mapping[str, str]) -> Path | None:
    """Return the user's own ``dca.toml`` in the configuration directory, if there is one."""
    home = environment.get("HOME", "")
    root = environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    path = Path(root) / "dca" / FILE_NAME
    return path if root and path.is_file() else None


def read_toml(file: Path) -> Source:
    """Read one file; a fault of syntax names its line."""
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{shown(file)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown(file)}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_fault(file, str(error))) from error
    return Source(values, file.resolve().parent, file, locate(text))


def _syntax_fault(file: Path, fault: str) -> str:
    match = re.fullmatch(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", fault)
    if match is None or match[2] is None:
        return f"{shown(file)}: {fault}"
    return f"{shown(file)}:{match[2]}: {match[1][0].lower()}{match[1][1:]}"


def read_dotenv(file: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines; ``#`` begins a comment line, quotes around a value are cut."""
    found: dict[str, str] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = ASSIGNMENT.fullmatch(stripped)
        if match is None:
            raise ConfigError(f"{shown(file)}:{number}: is not NAME=value")
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1]] = value
    return found


def from_flags(flags: Mapping[tuple[str, str], tuple[str, object]], base: Path) -> Source:
    """Make a source of ``(table, key) -> (flag, value)``; a value of ``None`` was not given."""
    given = {path: item for path, item in flags.items() if item[1] is not None}
    values: dict[str, dict[str, object]] = {}
    for (table, key), (_, value) in given.items():
        values.setdefault(table, {})[key] = value
    names: dict[KeyPath, str] = {path: f"flag {flag}" for path, (flag, _) in given.items()}
    return Source(values, base, names=names)


def from_environment(
    environment: Mapping[str, str], base: Path, *, place: str = "environment"
) -> Source:
    """Make a source of the ``DCA_*`` variables that name settings.

    Those in ``SHORT_NAMES`` are ``[project]``'s; the others are ``DCA_<TABLE>_<KEY>``. Numbers
    and booleans are written as in TOML, lists with commas.

    Raises:
        ConfigError: A variable with the prefix of a table names none of its keys.
    """
    known = _variables()
    prefixes = tuple(f"DCA_{table.upper()}_" for table in SETTINGS)
    values: dict[str, dict[str, object]] = {}
    names: dict[KeyPath, str] = {}
    for name, text in sorted(environment.items()):
        if name in known:
            table, key = known[name]
            values.setdefault(table, {})[key] = _parse(table, key, text)
            names[table, key] = f"{place} {name}"
        elif name.startswith(prefixes):
            raise ConfigError(f"{place}: unknown setting {name}{did_you_mean(name, known)}")
    return Source(values, base, names=names)


def _variables() -> dict[str, tuple[str, str]]:
    known = {name: ("project", key) for name, key in SHORT_NAMES.items()}
    for table, model in SETTINGS.items():
        if table != "project":
            known |= {f"DCA_{table}_{key}".upper(): (table, key) for key in model.model_fields}
    return known


def _parse(table: str, key: str, text: str) -> object:
    annotation = SETTINGS[table].model_fields[key].annotation
    if get_origin(annotation) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if not {annotation, *get_args(annotation)} & {bool, int, float}:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
