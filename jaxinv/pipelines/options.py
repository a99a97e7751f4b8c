"""Options: one statement of each gives its type, its range, its YAML key, its flag, its help and its provenance.

A class of options is a dataclass that pydantic fills: values may come from Python, from YAML or from words on a command
line, and `sigma=1e-3`, `sigma: 1e-3` and `--sigma 1e-3` mean the same and fail alike.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from jaxinv.names import suggestion

T = TypeVar("T")
C = TypeVar("C", bound=type)


class OptionError(ValueError):
    """An option has the wrong name, type or range; says which."""


def option(default: Any, text: str, group: str = "", called: str | None = None, **limits: Any) -> Any:
    """A field: its default, its help, the heading that its flag stands under, how its value is called, its range."""
    more = {"group": group, "called": called}
    if isinstance(default, dict):
        return Field(default_factory=lambda: dict(default), description=text, json_schema_extra=more, **limits)
    return Field(default=default, description=text, json_schema_extra=more, **limits)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for a number
        raise ValueError("a number")
    return _plain(value)


def _text(value: Any) -> Any:
    # A bare 6302.5 in YAML is a number, and a fine name of a line.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _several(value: Any) -> Any:
    value = _plain(value)
    return value if isinstance(value, list | tuple) else (value,)


def _increasing(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ValueError("the lower value first")
    return value


def long(*lengths: int, what: str) -> AfterValidator:
    """Of tuples that have one of some lengths."""

    def check(value: Sequence[Any]) -> Sequence[Any]:
        if len(value) not in lengths:
            raise ValueError(what)
        return value

    return AfterValidator(check)


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Seed = Annotated[Count, Field(ge=0, lt=2**63)]
Range = Annotated[tuple[Number, Number], BeforeValidator(_plain), AfterValidator(_increasing)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several)]
Numbers = Annotated[tuple[Number, ...], BeforeValidator(_several)]
Positives = Annotated[tuple[Positive, ...], BeforeValidator(_several)]
NotNegatives = Annotated[tuple[NotNegative, ...], BeforeValidator(_several)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_several)]


@dataclass_transform(frozen_default=True)
def options(cls: C) -> C:
    """A frozen dataclass of options, whose values are checked when it is made; what is wrong is said in one line.

    Raises (the class, when it is made):
        OptionError: there is no such option, or a value has the wrong type or range.
    """
    made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid", validate_default=True))(cls)
    fill = made.__init__

    @functools.wraps(fill)
    def __init__(self: Any, *args: Any, **given: Any) -> None:
        known = [field.name for field in dataclasses.fields(made)]
        check_known(given, known)
        try:
            fill(self, *args, **given)
        except ValidationError as error:
            raise OptionError(said(error)) from None

    made.__init__ = __init__
    return made


def check_known(given: Mapping[Any, Any], known: Sequence[str], where: str = "") -> None:
    """Every option is known.

    Raises:
        OptionError: it is not; names the nearest one.
    """
    for name in given:
        if name not in known:
            near = suggestion(str(name), known) or f" (there are {', '.join(known)})"
            raise OptionError(f"{where}there is no option {name!r}{near}")


def changed(config: T, given: Mapping[str, Any]) -> T:
    """Options with some of them changed.

    Raises:
        OptionError: there is no such option, or a value has the wrong type or range.
    """
    check_known(given, [field.name for field in dataclasses.fields(config)])  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(config, **given)  # pyright: ignore[reportArgumentType]


def checked(kind: Any, name: str, value: Any, where: str) -> Any:
    """One option of a class of options from what a file or a command line says.

    Raises:
        OptionError: it has the wrong type or range; `where` says where it stands.
    """
    try:
        return _adapter(kind, name).validate_python(value)
    except ValidationError as error:
        raise OptionError(said(error, where)) from None


@functools.cache
def _adapter(kind: Any, name: str) -> TypeAdapter[Any]:
    found = kind.__pydantic_fields__[name]
    stated: Any = found.annotation
    for part in found.metadata:
        stated = Annotated[stated, part]
    return TypeAdapter(stated)


_TAKES: dict[str, str] = {
    "bool": "true or false",
    "float": "a finite number",
    "finite_number": "a finite number",
    "int": "a whole number",
    "string": "a text",
    "dict": "name: value pairs",
    "mapping": "name: value pairs",
    "greater_than_equal": "{ge} or more",
    "greater_than": "a number above {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "a number below {lt}",
    "literal_error": "one of {expected}",
    "tuple": "several values together",
    "missing": "more values together",
    "too_long": "{max_length} values together",
    "too_short": "{min_length} values together",
}
"""What an option takes, by how the name of pydantic's error begins."""


def said(error: ValidationError, where: str = "") -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    place, context = [*first["loc"]], dict(first.get("ctx", {}))
    if not place and not where:  # of several options together
        return str(context.get("error", first["msg"]))
    name = where or f"the option {place.pop(0)!r}"
    more = "".join(f" {part}" for part in place if isinstance(part, str) and not part.startswith("function-"))
    context = {key: f"{x:g}" if isinstance(x, float) else x for key, x in context.items()}
    kind = first["type"]
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "").replace(" or ", ", ")
    takes = str(context["error"]) if kind == "value_error" else ""
    for begin, words in _TAKES.items() if not takes else ():
        if kind.startswith(begin):
            takes = words.format(**context)
            break
    takes = takes or first["msg"].lower()
    return f"{name}{more} takes {takes}; found {first['input']!r}"
