"""Options of a command, from flags and from a YAML file or a result to repeat: one class of options states both."""

from __future__ import annotations

import contextvars
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter

from jaxinv.pipelines.options import OptionError, check_known, checked

T = TypeVar("T")
COMMAND_LINE: contextvars.ContextVar[str] = contextvars.ContextVar("COMMAND_LINE", default="")
"""What the user typed."""

_HEADINGS = (
    "what most observations need", "what", "telescope", "camera", "turbulence", "exposures", "truth", "data", "noise",
    "instrument", "model", "method", "sampler", "solver", "restoration", "reconstruction", "stars", "output", "running",
)  # fmt: skip
GROUPS = {name: Group(name, sort_key=k) for k, name in enumerate(_HEADINGS)}
"""The headings of the help, in their order."""


def with_options(kind: type) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command a flag for each field of a class of options, and itself as the argument `options`.

    A flag wins over what stands in the file that the command's argument `config` names.
    """
    hints = typing.get_type_hints(kind)
    fields: Mapping[str, Any] = kind.__pydantic_fields__  # pyright: ignore[reportAttributeAccessIssue]

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(function, eval_str=True)
        plain = [parameter for name, parameter in own.parameters.items() if name != "options"]
        flags = [_flag(name, hints[name], field) for name, field in fields.items()]

        @functools.wraps(function)
        def run(*arguments: Any, **given: Any) -> int:
            words = {name: given.pop(name, None) for name in fields}
            config = own.bind_partial(*arguments, **given).arguments.get("config")
            options = gather(kind, {name: x for name, x in words.items() if x is not None}, config)
            return function(*arguments, options=options, **given)

        run.__signature__ = own.replace(parameters=[*plain, *flags])  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {each.name: each.annotation for each in (*plain, *flags)}
        return run

    return decorate


def gather(kind: type[T], words: Mapping[str, Any], config: str | None) -> T:
    """The options from their defaults, then the file, then the words of the command line.

    Raises:
        OptionError: the file cannot be read, has an unknown key, or a value has the wrong type or range.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    if config is not None:
        stated = _stated_in(config)
        check_known(stated, [*hints], f"{config}: ")
        values = {name: checked(kind, name, x, f"{config}: {name!r}") for name, x in stated.items()}
    for name, given in words.items():
        flag = "--" + name.replace("_", "-")
        values[name] = checked(kind, name, _from_words(hints[name], given, flag), flag)
    return kind(**values)


def _flag(name: str, hint: Any, field: Any) -> inspect.Parameter:
    more, default = field.json_schema_extra, field.default
    shown = f" (default: {_shown(default)})" if field.default_factory is None and default not in ((), None) else ""
    several = _is(hint, tuple) or _is_mapping(hint)
    # A class of words is called in the help as its values are.
    word: Any = type(more["called"] or _called(hint), (str,), {})
    kind = bool if hint is bool else tuple[word, ...] if several else word
    parameter = Parameter(
        help=field.description + (shown if hint is not bool else ""),
        group=GROUPS[more["group"]],
        show_default=False,
        consume_multiple=several or None,
        n_tokens=None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, parameter]
    )


def _called(hint: Any) -> str:
    """What a value of an option is called in the help."""
    if _is_mapping(hint):
        return "NAME=VALUE"
    inner = [each for each in typing.get_args(hint) if each not in (type(None), ...)]
    if _is(hint, typing.Literal):
        return "NAME"
    if inner:
        return "FIRST:LAST" if _is(hint, tuple) and _is(inner[0], tuple) else _called(inner[0])
    return {float: "NUMBER", int: "NUMBER"}.get(hint, "TEXT")


def _is(hint: Any, kind: Any) -> bool:
    return typing.get_origin(hint) is kind


def _is_mapping(hint: Any) -> bool:
    return getattr(typing.get_origin(hint), "__name__", "") == "Mapping"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _from_words(hint: Any, given: Any, flag: str) -> Any:
    """What YAML would have held for the words on the command line."""
    if _is_mapping(hint):
        pairs = [word.partition("=") for word in given]
        bad = next((word for word, (_, equals, _) in zip(given, pairs, strict=True) if not equals), None)
        if bad is not None:
            raise OptionError(f"{flag}: expected name=value; found {bad!r}")
        if typing.get_args(hint)[1] is Any:
            return {name: _yaml(value, flag) for name, _, value in pairs}
        return {name: value.split(":") if ":" in value else value for name, _, value in pairs}
    if _is(hint, tuple) and any(_is(inner, tuple) for inner in typing.get_args(hint)):
        return [word.split(":") for word in given]
    return given


def _stated_in(path: str) -> dict[str, Any]:
    """The options in a YAML file, or those that made a result."""
    if is_product(path):
        from jaxinv import io

        made = io.provenance_of(path).get("options")
        if made is None:
            raise OptionError(f"{path} does not say by which options it was made")
        return _yaml(made, path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path} is not a text file") from None
    content = _yaml(text, path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(f"{path} must hold options as `name: value`; found a {type(content).__name__}")
    return content


def _yaml(text: str, where: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        key = str(error.problem).partition('"')[2].partition('"')[0]
        line = error.problem_mark.line + 1
        raise OptionError(f"{where}: {key!r} stands twice (line {line})") from None
    except RecursionError:
        raise OptionError(f"{where} is nested too deeply: it holds options as `name: value`") from None
    except Exception as error:  # whatever a reader says of a text that is none
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        said = " ".join(str(getattr(error, "problem", None) or error).split())
        raise OptionError(f"{where} is not valid YAML{line}: {said:.200}") from None


def is_product(path: str) -> bool:
    """Whether a file of options is a result, by its name."""
    return path.lower().rstrip("/").endswith((".fits", ".fits.gz", ".fit", ".fts", ".zarr", ".partial"))
