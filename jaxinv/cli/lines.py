"""`jaxinv lines`: the table of spectral lines."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def lines(
    names: Annotated[list[str] | None, Parameter(name="LINE", help="only these lines")] = None,
    /,
    *,
    between: Annotated[tuple[float, float] | None, Parameter(help="only within this range [angstrom]")] = None,
) -> int:
    """List the spectral lines that jaxinv knows, with their atomic data and where each number comes from.

    jaxinv lines "Fe I 6302.5" "Na D1"
    jaxinv lines --between 6300 6303
    """
    from jaxinv.spectra.line_table import LINES
    from jaxinv.spectra.lines import find_lines, format_table

    chosen = find_lines(names) if names else LINES
    if between:
        first, last = between
        chosen = tuple(line for line in chosen if first <= line.wavelength <= last)
        if not chosen:
            raise ValueError(f"no known line lies between {first:g} and {last:g} angstrom")
    print(format_table(chosen))
    return 0
