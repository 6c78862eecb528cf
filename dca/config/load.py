"""Reading the configuration: sources in order of precedence, checked, with origins.

Precedence: flag > ``DCA_*`` environment > ``.env`` beside ``dca.toml`` > nearest ``dca.toml``
upward > the user's ``dca.toml`` > default. Keys of ``[project]``, ``[review]``, ``[consensus]``
and ``[credit]`` are taken one by one; a reviewer, a panel or a label set is taken whole from the
first source that has it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dca.config.check import Faults, check_tables, dotted, merge_settings
from dca.config.models import SETTINGS, Config
from dca.config.named import Named, read_named
from dca.config.secret import secret_values
from dca.config.sources import (
    DOTENV_NAME,
    Source,
    from_environment,
    from_flags,
    nearest_file,
    read_dotenv,
    read_toml,
    shown,
    user_file,
)
from dca.config.suggest import did_you_mean
from dca.domain.errors import ConfigError

Flags = Mapping[tuple[str, str], tuple[str, object]]
"""``(table, key)`` to the flag that sets it and its value; ``None`` where it was not given."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it comes from."""

    key: str
    """``table.key``."""
    value: object
    """A JSON value."""
    origin: str
    """``dca.toml:3``, ``flag --store``, ``environment DCA_STORE`` or ``default``."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration and everything known about where it came from."""

    config: Config
    file: Path | None
    """The project's ``dca.toml``."""
    user_file: Path | None
    """The user's own ``dca.toml``."""
    dotenv: Path | None
    """The ``.env`` that was read."""
    dotenv_values: Mapping[str, str] = field(repr=False)
    """Its variables that the environment does not set already."""
    environment: Mapping[str, str] = field(repr=False)
    """The environment with ``dotenv_values`` added."""
    origins: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """``table.key`` to its origin, for what is not a default."""

    @property
    def key_variables(self) -> dict[str, str]:
        """Reviewer name to the variable that holds its key, for reviewers that need one."""
        named = {
            name: getattr(reviewer, "api_key_env", None)
            for name, reviewer in self.config.reviewers.items()
        }
        return {name: variable for name, variable in named.items() if variable}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no output may hold."""
        variables = self.key_variables.values()
        return secret_values(self.environment, variables, self.config.project.store)

    def settings(self) -> list[Setting]:
        """Return every value in the order of the tables, reviewers and panels by name."""
        return [Setting(key, value, self._origin(key)) for key, value in _flatten(self.config)]

    def _origin(self, key: str) -> str:
        return self.origins.get(key, "default")


def load(
    flags: Flags | None = None,
    *,
    file: Path | None = None,
    start: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read and check the configuration; change nothing outside.

    Args:
        flags: Settings given on the command line.
        file: The project's file; ``None`` takes the nearest ``dca.toml`` from ``start`` upward.
        start: Working directory; ``None`` is the process's.
        environment: Variables; ``None`` is the process's.

    Raises:
        ConfigError: Something is unknown, missing or wrong; one line for each fault.
    """
    here = (start or Path.cwd()).resolve()
    variables = dict(os.environ if environment is None else environment)
    project, user = _files(file, here, variables)
    dotenv = project.parent / DOTENV_NAME if project else None
    dotenv = dotenv if dotenv and dotenv.is_file() else None
    extra = read_dotenv(dotenv) if dotenv else {}
    extra = {name: value for name, value in extra.items() if name not in variables}
    home = project.parent if project else here
    sources = [
        from_flags(flags or {}, here),
        from_environment(variables, here),
        from_environment(extra, home, place=DOTENV_NAME),
        *(read_toml(path) for path in (project, user) if path),
    ]
    config, origins = _merge(sources, home)
    return Loaded(config, project, user, dotenv, extra, extra | variables, origins)


def _files(
    file: Path | None, here: Path, variables: Mapping[str, str]
) -> tuple[Path | None, Path | None]:
    if file is not None and not file.is_file():
        raise ConfigError(f"{shown(file)}: no such file", hint="`dca init` writes a dca.toml")
    project = file or nearest_file(here)
    project = project.resolve() if project else None
    user = user_file(variables)
    return project, None if user is None or user.resolve() == project else user


def _merge(sources: Sequence[Source], home: Path) -> tuple[Config, dict[str, str]]:
    faults = Faults()
    for source in sources:
        check_tables(source, faults)
    tables: dict[str, object] = {}
    places: dict[str, Mapping[str, Source]] = {}
    for name, model in SETTINGS.items():
        tables[name], places[name] = merge_settings(name, model, sources, faults)
    named = read_named(sources, faults)
    faults.raise_any()
    origins = {
        f"{table}.{key}": source.origin((table, key))
        for table, keys in places.items()
        for key, source in keys.items()
    }
    origins |= _named_origins(named)
    config = Config.model_validate(
        {**tables, "labels": named.labels, "panels": named.panels, "reviewers": named.reviewers}
    )
    _check_names(config, origins, faults)
    faults.raise_any()
    store = places["project"].get("store")
    return _resolve_store(config, store.base if store else home), origins


def _named_origins(named: Named) -> dict[str, str]:
    origins: dict[str, str] = {}
    for path, (source, place) in named.sources.items():
        table, name = str(path[0]), str(path[1])
        if table == "labels":
            keys = [(label.key, place) for label in named.labels[name]]
        else:
            entry = {"reviewers": named.reviewers, "panels": named.panels}[table][name]
            keys = [(key, (*place, key)) for key in entry.model_fields_set]
        origins |= {f"{dotted(path)}.{key}": source.origin(where) for key, where in keys}
    return origins


def _check_names(config: Config, origins: Mapping[str, str], faults: Faults) -> None:
    """Note every name that points at nothing."""
    panels = [(f"panels.{name}.reviewers", panel) for name, panel in config.panels.items()]
    members = [(key, member) for key, panel in panels for member in panel.reviewers]
    uses: list[tuple[str, str, Iterable[str], str]] = [
        ("project.labels", config.project.labels, config.labels, "label set"),
        ("review.panel", config.review.panel, config.panels, "panel"),
        *((key, member, config.reviewers, "reviewer") for key, member in members),
    ]
    labels = config.labels.get(config.project.labels)
    if labels is not None:
        kind = f"label of {labels.name}"
        uses.append(("consensus.unmarked", config.consensus.unmarked, labels.keys, kind))
    for key, name, known, kind in uses:
        if name not in known:
            origin = origins.get(key) or origins.get("project.labels", "default")
            faults.add(f"{origin}: {key}: {name!r} is no {kind}{did_you_mean(name, known)}")


def _resolve_store(config: Config, base: Path) -> Config:
    store = config.project.store
    prefix = "sqlite:///"
    if store.startswith(prefix) and store not in {prefix, f"{prefix}:memory:"}:
        store = prefix + str(base / store.removeprefix(prefix))
    elif "://" not in store:
        store = str(base / store)
    project = config.project.model_copy(update={"store": store})
    return config.model_copy(update={"project": project})


def _flatten(config: Config) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for table in SETTINGS:
        values = getattr(config, table).model_dump(mode="json")
        rows += [(f"{table}.{key}", value) for key, value in values.items()]
    for table in ("panels", "reviewers"):
        for name, entry in getattr(config, table).items():
            values = entry.model_dump(mode="json")
            rows += [(f"{table}.{name}.{key}", value) for key, value in values.items()]
    for name, labels in config.labels.items():
        rows += [(f"labels.{name}.{label.key}", [label.letter, label.value]) for label in labels]
    return rows
