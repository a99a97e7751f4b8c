"""The package starts quickly: what is heavy is imported when it is used."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import jaxinv

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


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


def test_all_that_is_public_has_a_page() -> None:
    pages = "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    found = [each.name for each in pkgutil.iter_modules(jaxinv.__path__) if each.ispkg and each.name != "cli"]
    for package in (jaxinv, *(importlib.import_module(f"jaxinv.{name}") for name in found)):
        names = getattr(package, "__all__", None) or [name for name in vars(package) if not name.startswith("_")]
        for name in names:
            module = getattr(getattr(package, name), "__module__", None) or ""
            assert not module.startswith("jaxinv.") or module in shown, f"{package.__name__}.{name} is in {module}"
