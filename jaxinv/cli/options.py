"""Options from flags and YAML files, typed by the dataclass that holds them: one statement, two ways to set it."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxinv.names import suggestion
from jaxinv.pipelines.options import OptionError, converted, is_mapping

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser, kind: type, groups: Mapping[str, Sequence[str]]) -> None:
    """A flag for each field of the dataclass `kind`, under the headings of `groups` (heading -> field names)."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for heading, names in groups.items():
        group = parser.add_argument_group(heading)
        for name in names:
            field, hint = fields[name], hints[name]
            text = field.metadata["help"].replace("%", "%%")
            flag = "--" + name.replace("_", "-")
            if hint is bool:
                group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
                continue
            many = typing.get_origin(hint) in (tuple, Mapping) or is_mapping(hint)
            default = "" if field.default in (dataclasses.MISSING, (), None) else f" (default: {_shown(field.default)})"
            group.add_argument(
                flag,
                nargs="+" if many else None,
                metavar=field.metadata["metavar"] or _metavar(hint),
                help=text + default,
            )


def gather(kind: type[T], arguments: argparse.Namespace, config: str | None) -> T:
    """The dataclass from its defaults, then the YAML file, then the flags.

    Raises:
        OptionError: the file cannot be read, has an unknown key, or a value has the wrong type.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    if config is not None:
        for name, value in _stated_in(config, hints).items():
            if name not in hints:
                near = suggestion(name, hints) or f" (there are {', '.join(hints)})"
                raise OptionError(f"{config}: there is no option {name!r}{near}")
            values[name] = converted(hints[name], value, f"{config}: {name!r}")
    for name, hint in hints.items():
        given = getattr(arguments, name, None)
        if given is not None:
            values[name] = converted(hint, _from_flag(hint, given), "--" + name.replace("_", "-"))
    try:
        return kind(**values)
    except ValueError as error:
        raise OptionError(str(error)) from None


def _stated_in(path: str, known: Collection[str]) -> dict[str, Any]:
    """The options in a YAML file, or those that made a product."""
    if not is_product(path):
        return _read_yaml(path)
    from jaxinv import io

    return {name: value for name, value in io.read_product(path).options.items() if name in known}


def is_product(path: str) -> bool:
    """Whether a file of options is a product, by its name."""
    return path.lower().rstrip("/").endswith((".fits", ".fits.gz", ".fit", ".fts", ".zarr", ".partial"))


def _read_yaml(path: str) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that stands twice."""

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        odd = next((key for key in keys if isinstance(key, list | dict)), None)
        if odd is not None:
            raise OptionError(f"{path}: {odd!r} is no name of an option (line {node.start_mark.line + 1} and after)")
        twice = next((key for k, key in enumerate(keys) if key in keys[:k]), None)
        if twice is not None:
            raise OptionError(f"{path}: {twice!r} stands twice (line {node.start_mark.line + 1} and after)")
        return {
            key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)
        }

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path} is not a text file") from None
    except RecursionError:
        raise OptionError(f"{path} is nested too deeply: it holds options as `name: value`") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise OptionError(f"{path} is not valid YAML{where}: {getattr(error, 'problem', error)}") from None
    except OptionError:
        raise
    except ValueError as error:  # a tag that promises another kind of value
        raise OptionError(f"{path} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(f"{path} must hold options as `name: value`; found a {type(content).__name__}")
    return content


def _metavar(hint: Any) -> str:
    if is_mapping(hint):
        return "NAME=LOW:HIGH" if "tuple" in str(hint) else "NAME=VALUE"
    text = str(hint)
    if "tuple[tuple" in text:
        return "LOW:HIGH"
    return "TEXT" if "str" in text else "N" if "int" in text and "float" not in text else "X"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _from_flag(hint: Any, given: Any) -> Any:
    """What YAML would have held for the words on the command line."""
    if is_mapping(hint):
        pairs = [word.partition("=") for word in given]
        bad = next((word for word, (_, equals, _) in zip(given, pairs, strict=True) if not equals), None)
        if bad is not None:
            raise OptionError(f"expected name=value; found {bad!r}")
        if typing.get_args(hint)[1] is Any:
            import yaml

            return {name: yaml.safe_load(value) for name, _, value in pairs}
        return {name: value.split(":") if ":" in value else value for name, _, value in pairs}
    if "tuple[tuple" in str(hint):
        return [word.split(":") for word in given]
    return given
