"""`jaxinv restore`: from a file to the object and its report; what cannot be restored is one line."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from jaxinv import io
from jaxinv.cli import main

OPTIONS = ["--diameter", "1.0", "--modes", "20", "--draws", "0"]


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("burst") / "burst.fits"
    telescope = ["--diameter", "1.0", "--wavelength", "8542", "--pixel-scale", "0.059", "--n-pixels", "64"]
    assert main(["simulate-burst", "-o", str(path), *telescope, "--d-over-r0", "3", "--frames", "4", "--quiet"]) == 0
    return path


def test_a_burst_is_restored(burst: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.fits"
    assert main(["restore", str(burst), "-o", str(out), *OPTIONS]) == 0
    said = capsys.readouterr().out
    assert "frames      4 of 64 x 64 pixels of 0.059 arcsec" in said
    assert "contrast" in said
    assert " per patch," in said
    found = io.read_restoration(out)
    assert found.object.shape == (64, 64)
    assert found.contrast > np.std(found.best_frame)
    assert (tmp_path / "out.png").stat().st_size > 10_000
    assert not (tmp_path / "out.fits.partial").exists()
    provenance = io.provenance_of(out)
    assert provenance["command"].startswith("jaxinv restore")
    assert "diameter" in provenance["options"]
    # The same command again has nothing to do; its options are repeated from its file.
    assert main(["restore", str(burst), "-o", str(out), *OPTIONS]) == 0
    assert "holds the result of this command already" in capsys.readouterr().out
    again = tmp_path / "again.fits"
    assert main(["restore", str(burst), "-o", str(again), "--config", str(out), "--no-quicklook", "--quiet"]) == 0
    np.testing.assert_array_equal(io.read_restoration(again).object, found.object)


def test_a_narrowband_camera_behind_a_polarimeter(
    burst: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which sees the same here, in another colour, and no polarization."""
    cycle, out = tmp_path / "cycle.txt", tmp_path / "out.fits"
    cycle.write_text("# I V\n1 0.8\n1 -0.8\n")
    words = ["--narrowband", str(burst), "--narrowband-wavelength", "850 nm", "--modulation", str(cycle)]
    assert main(["restore", str(burst), "-o", str(out), *words, *OPTIONS]) == 0
    said = capsys.readouterr().out
    assert "frames      4 of 64 x 64 pixels of 0.059 arcsec, and at 8500 angstrom" in said
    assert "modulation  2 Stokes parameters of 4 frames" in said
    assert "narrowband  contrast" in said
    assert "Stokes      column 2" in said
    found = io.read_restoration(out)
    assert found.narrowband is not None
    assert found.narrowband_error is not None
    assert found.narrowband_frame is not None
    assert found.stokes is not None
    assert found.stokes_error is not None
    assert np.corrcoef(found.narrowband.ravel(), found.object.ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(found.stokes[0], found.narrowband)
    assert np.std(found.stokes[1]) < 0.1 * np.std(found.object)
    with fits.open(out) as hdus:
        assert "CTYPE3" not in hdus["STOKES"].header  # which they are is not known
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--patch", "128"], "a patch of 128 pixels is larger than the field of 64 x 64"),
        (["--wavelength", "5 s"], "the option 'wavelength' takes a number of angstrom"),
        (["--noise", "0"], "noise"),
        (["--dark", "{burst}"], "the dark"),
        (["--modulation", "{words}"], "words.txt is not a table of numbers"),
        (["--modulation", "nowhere.txt"], "there is no file nowhere.txt"),
    ],
)
def test_bad_input_is_one_line(
    burst: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    (tmp_path / "words.txt").write_text("one two\n")
    words = [word.format(burst=burst, words=tmp_path / "words.txt") for word in more]
    assert main(["restore", str(burst), "-o", str(tmp_path / "out.fits"), *OPTIONS, *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error or "axes" in error or "no map" in error
    assert "\n" not in error
    assert not (tmp_path / "out.fits").exists()


def test_a_truncated_file(burst: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "short.fits"
    short.write_bytes(burst.read_bytes()[:20_000])
    assert main(["restore", str(short), "-o", str(tmp_path / "out.fits"), *OPTIONS]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    single = tmp_path / "single.fits"
    hdu = fits.PrimaryHDU(np.ones((1, 64, 64), np.float32))
    hdu.writeto(single)
    words = ["--wavelength", "8542", "--pixel-scale", "0.059"]
    assert main(["restore", str(single), "-o", str(tmp_path / "out.fits"), *OPTIONS, *words]) == 2
    assert "a burst of one frame" in capsys.readouterr().err
