"""TOML tables turned into dataclasses, with every key and type checked."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tumortrace.errors import ConfigError

T = TypeVar("T")

_MOST_SHOWN = 80  # characters of a value in a message

NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
PLURALS = {bool: "true or false values", int: "whole numbers", float: "numbers", str: "texts"}


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Return TOML text as nested tables.

    Args:
        text: The text; a byte order mark is ignored.
        name: Name of its file, for the message.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # of a number with too many digits, of brackets nested too deeply
        raise ConfigError(f"{name}: not TOML ({error}); correct the line it names") from None


def fill(cls: type[T], table: object, *, path: str = "") -> T:
    """Return a dataclass filled from a table; fields that the table does not name keep their defaults.

    Args:
        cls: The dataclass. Its fields are bool, int, float, str, ``Literal``, tuples of one of them, or dataclasses.
        table: Values by the fields' names, as ``tomllib`` returns them.
        path: Path of the table within its file, for the messages; empty for the file itself.

    Raises:
        ConfigError: Not a table, an unknown key, or a wrong type; names the key and what would be right.
    """
    return typing.cast("T", _build(cls, table, path=path))


def suggest(key: str, known: Sequence[str], *, path: str = "") -> str:
    """Return the end of a message about an unknown key: the most similar known key, or all of them.

    Args:
        key: The unknown key.
        known: The keys that are allowed.
        path: Path of their table, which is written before the suggested key.
    """
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {_join(path, close[0])!r}?" if close else f"; known keys: {', '.join(known)}"


def require(condition: bool, path: str, value: object, expected: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise a ``ConfigError`` that names a key, its value and what was expected, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{path} = {show(value)} must be {expected}")


def show(value: object) -> str:
    """Return a value as a message shows it: its beginning alone where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no more than 4300 digits
        return "(a huge number)"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN // 2]}... ({len(text)} characters)"


def _build(cls: type, table: object, *, path: str) -> object:
    if not isinstance(table, Mapping):
        raise not_a_table(path or "configuration", table)
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    for key, value in table.items():
        key_path = _join(path, str(key))
        if key not in hints:
            raise ConfigError(f"unknown key {key_path!r}{suggest(str(key), list(hints), path=path)}")
        hint = hints[key]
        nested = dataclasses.is_dataclass(hint)
        values[key] = _build(hint, value, path=key_path) if nested else _convert(value, hint, path=key_path)
    return cls(**values)


def not_a_table(path: str, value: object) -> ConfigError:
    """Return the error for a section that is no table."""
    return ConfigError(f"{path} must be a table, not {show(value)}")


def _convert(value: object, hint: Any, *, path: str) -> object:  # noqa: ANN401 - a type hint has no narrower type
    origin = get_origin(hint)
    if origin is Literal:
        choices = get_args(hint)
        require(value in choices, path, value, "one of " + ", ".join(map(repr, choices)))
        return value
    if origin is tuple:
        return _convert_tuple(value, hint, path=path)
    if type(value) is int:
        require(abs(value) < 2**63, path, value, "a number below 2^63")  # the range of TOML
        value = float(value) if hint is float else value
    require(type(value) is hint, path, value, NAMES[hint])
    return value


def _convert_tuple(value: object, hint: object, *, path: str) -> tuple[object, ...]:
    items = get_args(hint)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} = {show(value)} must be a list of {PLURALS[items[0]]}")
    if items[-1] is not Ellipsis:
        require(len(value) == len(items), path, value, f"a list of {len(items)} values")
    return tuple(_convert(item, items[0], path=f"{path}[{index}]") for index, item in enumerate(value))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
