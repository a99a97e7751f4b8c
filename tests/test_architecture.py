"""The package starts quickly: what is heavy is imported when it is used."""

import subprocess
import sys

import jaxinv


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import jaxinv, sys; print([m for m in ('jax', 'numpyro', 'astropy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    from jaxinv import pipelines, plot, spectra

    for module in (jaxinv, spectra, pipelines, plot):
        for name in module.__all__:
            assert getattr(module, name) is not None, name
        assert dir(module) == module.__all__
