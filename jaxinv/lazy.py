"""Public names that are imported when they are first used (PEP 562): `import jaxinv` and `--help` cost nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxinv.names import suggestion


def lazily(
    package: str, names: Mapping[str, str], elsewhere: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its `__name__`.
        names: public name -> the package's module that has it; "" where the name is a module itself.
        elsewhere: modules of the package that are looked into for a name that it does not have, to say where it is.
    """
    public = sorted(names)

    def get(name: str) -> Any:
        if name not in names:
            where = None
            if not name.startswith("_"):
                where = next((m for m in elsewhere if hasattr(importlib.import_module(f"{package}.{m}"), name)), None)
            hint = f"; it is {package}.{where}.{name}" if where else suggestion(name, names)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        if not names[name]:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return get, lambda: public, public
