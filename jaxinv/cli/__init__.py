"""The `jaxinv` command."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from jaxinv import __version__
from jaxinv.cli.options import COMMAND_LINE

_COMMANDS = {
    "invert": ("jaxinv.cli.invert:invert", "maps of field, velocity and line parameters from Stokes spectra"),
    "sample": ("jaxinv.cli.sample:sample", "posteriors of the same, of every pixel"),
    "calibrate": ("jaxinv.cli.calibrate:calibrate", "do the posteriors of an observation hold the truth?"),
    "train": ("jaxinv.cli.train:train", "a network that answers for an instrument"),
    "synthesize": ("jaxinv.cli.synthesize:synthesize", "Stokes spectra from parameters, or from maps"),
    "restore": ("jaxinv.cli.restore:restore", "the object behind a burst of short exposures"),
    "stars": ("jaxinv.cli.stars:stars", "double stars from a burst: separation, angle, magnitudes"),
    "deconvolve": ("jaxinv.cli.reconstruct:deconvolve", "what is behind a known point spread function"),
    "tomography": ("jaxinv.cli.reconstruct:tomography", "slices through an object from its projections"),
    "massmap": ("jaxinv.cli.reconstruct:massmap", "the mass that shears the images of galaxies"),
    "simulate-burst": ("jaxinv.cli.simulate_burst:simulate_burst", "images through the atmosphere and a telescope"),
    "lines": ("jaxinv.cli.lines:lines", "the spectral lines that are known"),
    "demo": ("jaxinv.cli.demo:demo", "see it work on a simulated sunspot"),
}
"""Where each is, and what it gives: imported only when it is asked for."""
_HELP = """\
Invert observations: from Stokes spectra to maps of the magnetic field and velocity with error bars; from bursts of
short exposures to the object behind the atmosphere; from blurred images, projections and galaxy shapes to images.

`jaxinv COMMAND --help` says more; --debug shows where in the code an error arose.
"""


def _app(asked: str) -> App:
    app = App(
        name="jaxinv",
        version=__version__,
        help=_HELP,
        help_format="markdown",
        default_parameter=Parameter(negative_iterable=()),
    )
    for k, (name, (place, summary)) in enumerate(_COMMANDS.items()):
        app.command(place, name=name, sort_key=k, help=None if name == asked else summary)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0; 2 for input that cannot be used, after one line that says why; 130 when interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv or bool(os.environ.get("JAXINV_DEBUG"))
    words = [word for word in argv if word != "--debug"]
    asked = words[0] if words and words[0] in _COMMANDS else ""
    app = _app(asked)
    try:
        command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        print(f"jaxinv: {_one_line(error)} (see `{f'jaxinv {asked}'.strip()} --help`)", file=sys.stderr)
        return 2
    COMMAND_LINE.set(" ".join(["jaxinv", *argv]))
    with warnings.catch_warnings():
        warnings.showwarning = _note
        warnings.filterwarnings("always", category=UserWarning, module="jaxinv")
        if not debug:
            warnings.filterwarnings("ignore", category=RuntimeWarning)  # of NumPy, on what a status will say
        try:
            if asked not in ("", "lines") and not {"--help", "-h"} & set(words):
                _configure_jax()
            return command(*bound.args, **bound.kwargs) or 0
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
