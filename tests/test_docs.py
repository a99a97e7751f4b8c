"""README, documentation pages and notebooks do what they say.

Every ```python block is executed (a page's blocks share their names), every line `$ jaxinv ...` of a ```console block
is run, and a ```yaml block that begins with `# name.yaml` is written to that file. The folder holds a small
`observation.fits`.
"""

import os
import re
import shlex
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from jaxinv import io
from jaxinv.cli import main
from jaxinv.pipelines import simulate_observation, sunspot_parameters

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|console|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    io.write_stokes(tmp_path / "observation.fits", simulate_observation(sunspot_parameters((8, 8), seed=2)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    names: dict = {"__name__": "__main__"}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        elif language == "yaml" and (file := re.match(r"# (\S+\.yaml)", text)):
            (tmp_path / file[1]).write_text(text)
        elif language == "console":
            for line in text.splitlines():
                if line.startswith("$ jaxinv "):
                    assert main(shlex.split(line)[2:]) == 0, capsys.readouterr().err


def test_pages_name_only_files_that_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    one_device = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "")  # as a user's
    client.execute(env={**os.environ, "XLA_FLAGS": one_device})
