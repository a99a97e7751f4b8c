"""Options typed by the dataclass that holds them, whether they come from YAML, from flags or from Python."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from jaxinv.names import suggestion


class OptionError(ValueError):
    """An option has the wrong name or type; says where it was found."""


def changed(config: Any, options: Mapping[str, Any]) -> Any:
    """A dataclass of options with some of them changed.

    Raises:
        OptionError: there is no such option, or a value has the wrong type.
    """
    known = [field.name for field in dataclasses.fields(config)]
    for name in options:
        if name not in known:
            near = suggestion(name, known) or f" (there are {', '.join(known)})"
            raise OptionError(f"there is no option {name!r}{near}")
    return dataclasses.replace(config, **options)


def settle(config: Any) -> None:
    """Give every field of a frozen dataclass the type that it states: one line or number is a tuple of one.

    Raises:
        OptionError: a value cannot be of its type.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        if typing.get_origin(hint) is not typing.ClassVar:
            value = converted(hint, getattr(config, name), f"the option {name!r}")
            object.__setattr__(config, name, value)


def is_mapping(hint: Any) -> bool:
    """Whether a type hint is that of name: value pairs."""
    return getattr(typing.get_origin(hint), "__name__", "") == "Mapping"


def converted(hint: Any, value: Any, where: str) -> Any:
    """`value`, from YAML, a flag or Python, as the type that the dataclass states.

    Raises:
        OptionError: it is of another kind; `where` says which.
    """
    if hint is Any:
        return value
    value = value.tolist() if hasattr(value, "tolist") else value
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        return (
            None if value is None else converted(next(kind for kind in inner if kind is not type(None)), value, where)
        )
    if is_mapping(hint):
        if not isinstance(value, Mapping):
            raise OptionError(f"{where} takes name: value pairs; found {value!r}")
        return {str(name): converted(inner[1], item, f"{where} {name}") for name, item in value.items()}
    if origin is tuple:
        if inner[-1] is Ellipsis:
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(converted(inner[0], item, where) for item in items)
        if not isinstance(value, list | tuple) or len(value) != len(inner):
            raise OptionError(f"{where} takes {len(inner)} values together; found {value!r}")
        return tuple(converted(kind, item, where) for kind, item in zip(inner, value, strict=True))
    return _scalar(hint, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise OptionError(f"{where} takes true or false; found {value!r}")
    if kind is str:
        # A bare 6302.5 in YAML is a number, and a fine name of a line.
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
        raise OptionError(f"{where} takes a text; found {value!r}")
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if kind is int:
            if number != int(number):
                raise ValueError
            return int(number)
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a finite number"
        raise OptionError(f"{where} takes {noun}; found {value!r}") from None
    return number
