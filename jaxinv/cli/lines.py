"""`jaxinv lines`: the table of spectral lines."""

from __future__ import annotations

import argparse

NAME = "lines"
SUMMARY = "list the spectral lines that jaxinv knows"
NEEDS_JAX = False
DESCRIPTION = """\
List the spectral lines that jaxinv knows, with their atomic data and where each number comes from.

  jaxinv lines
  jaxinv lines "Fe I 6302.5" "Na D1"
  jaxinv lines --between 6300 6303
"""
USAGE = "[LINE ...] [--between FIRST LAST]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("names", nargs="*", metavar="LINE", help="only these lines")
    parser.add_argument(
        "--between", nargs=2, type=float, metavar=("FIRST", "LAST"), help="only within this range [angstrom]"
    )


def run(arguments: argparse.Namespace, command_line: str) -> int:
    """Print the table."""
    del command_line
    from jaxinv.spectra.line_table import LINES
    from jaxinv.spectra.lines import find_lines, format_table

    chosen = find_lines(arguments.names) if arguments.names else LINES
    if arguments.between:
        first, last = arguments.between
        chosen = tuple(line for line in chosen if first <= line.wavelength <= last)
        if not chosen:
            raise ValueError(f"no known line lies between {first:g} and {last:g} angstrom")
    print(format_table(chosen))
    return 0
