"""The `jaxinv` command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jaxinv import __version__
from jaxinv.cli import calibrate, demo, invert, lines, sample, simulate_burst, synthesize, train
from jaxinv.names import suggestion

_COMMANDS = (invert, sample, calibrate, train, synthesize, simulate_burst, lines, demo)

_DESCRIPTION = """\
Invert spectropolarimetric observations: from Stokes spectra to maps of the magnetic
field and velocity with error bars.

  jaxinv demo                               see it work on a simulated sunspot
  jaxinv invert cube.fits -o maps.fits      invert your own observation
  jaxinv sample cube.fits -o post.fits      posteriors of the same
  jaxinv train config.yaml -o network       a network that answers for your instrument
  jaxinv simulate-burst -o burst.fits       images through the atmosphere and a telescope
  jaxinv lines                              the spectral lines it knows
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0; 2 for input that cannot be used, after one line that says why; 130 when interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and arguments.command is not None:
        flags = [flag for action in arguments.parser._actions for flag in action.option_strings]
        arguments.parser.error(f"there is no option {unknown[0]!r}{suggestion(unknown[0], flags)}")
    if arguments.command is None:
        parser.print_help()
        return 0
    debug = arguments.debug or bool(os.environ.get("JAXINV_DEBUG"))
    command_line = " ".join(["jaxinv", *argv])
    with warnings.catch_warnings():
        warnings.showwarning = _note
        warnings.filterwarnings("always", category=UserWarning, module="jaxinv")
        if not debug:
            warnings.filterwarnings("ignore", category=RuntimeWarning)  # of NumPy, on what a status will say
        try:
            if arguments.needs_jax:
                _configure_jax()
            return arguments.run(arguments, command_line)
        except (ValueError, KeyError, OSError) as error:
            if debug:
                raise
            print(f"jaxinv: {_one_line(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as interruption:
            if debug:
                raise
            print(f"\njaxinv: interrupted{_one_line(interruption)}", file=sys.stderr)
            return 130


class _Parser(argparse.ArgumentParser):
    """Says in two lines what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.format_usage()}jaxinv: {message} (see `{self.prog} --help`)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jaxinv",
        usage="jaxinv COMMAND ...",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jaxinv {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    for module in _COMMANDS:
        command = commands.add_parser(
            module.NAME,
            prog=f"jaxinv {module.NAME}",
            usage=f"jaxinv {module.NAME} {module.USAGE}",
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show where in the code an error arose")
        command.set_defaults(parser=command, run=module.run, needs_jax=module.NEEDS_JAX)
    return parser


def _configure_jax() -> None:
    """Keep compiled programs between runs, and XLA's own messages off the screen."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxinv"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _one_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())


def _note(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
    del category, rest, more
    print(f"jaxinv: note: {message}", file=sys.stderr)
