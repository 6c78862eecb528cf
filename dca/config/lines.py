"""Where each key of a TOML text stands. Pure."""

import tomllib
from collections import Counter
from collections.abc import Iterator

KeyPath = tuple[str | int, ...]
"""Keys from the root to a value; the position for an element of an array of tables."""


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every table header and key of a valid TOML text.

    Each statement is parsed alone by the standard library's parser, so that strings, comments and
    arrays over many lines need no grammar of our own.
    """
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    elements: Counter[KeyPath] = Counter()
    for line, statement, is_header in _statements(text):
        if is_header:
            table = _header(statement, elements)
            found.setdefault(table, line)
        else:
            for path in _paths(statement):
                found.setdefault(table + path, line)
    return found


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of ``path``, else of the nearest table above it, else 1."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _statements(text: str) -> Iterator[tuple[int, dict[str, object], bool]]:
    """Yield (first line, parsed statement, whether it is a table header)."""
    waiting: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        waiting.append(line)
        try:
            statement = tomllib.loads("\n".join(waiting) + "\n")
        except tomllib.TOMLDecodeError:
            continue  # the statement goes on in the next line
        if statement:
            yield number - len(waiting) + 1, statement, waiting[0].lstrip().startswith("[")
        waiting.clear()


def _header(statement: dict[str, object], elements: Counter[KeyPath]) -> KeyPath:
    path: KeyPath = ()
    node: object = statement
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        path += (str(key),)
        if isinstance(node, list):
            elements[path] += 1
            path += (elements[path] - 1,)
            break
        if elements[path]:
            path += (elements[path] - 1,)
    return path


def _paths(node: dict[str, object]) -> Iterator[KeyPath]:
    for key, value in node.items():
        yield (key,)
        if isinstance(value, dict):
            for rest in _paths(value):
                yield (key, *rest)
