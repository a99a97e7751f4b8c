"""What to say of a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: object, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where a known name is like this one, nothing where none is."""
    alike = lambda text: str(text).lower().replace("-", "_")  # noqa: E731
    spelled = {alike(each): each for each in known}
    nearest = difflib.get_close_matches(alike(name), spelled, 1)
    return f"; did you mean {spelled[nearest[0]]!r}?" if nearest else ""
