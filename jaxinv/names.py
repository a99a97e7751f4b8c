"""Names: public ones that are imported when they are first used, and what to say of one that is not known."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def suggestion(name: object, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where a known name is like this one, nothing where none is."""
    alike = lambda text: str(text).lower().replace("-", "_")  # noqa: E731
    spelled = {alike(each): each for each in known}
    nearest = difflib.get_close_matches(alike(name), spelled, 1)
    return f"; did you mean {spelled[nearest[0]]!r}?" if nearest else ""


def lazily(
    package: str, names: Mapping[str, str], elsewhere: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose modules are imported when they are used (PEP 562).

    So `import jaxinv` and `--help` cost nothing.

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
