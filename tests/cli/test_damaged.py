"""Damaged and odd files of every kind: exit 0 or 2, one line, no traceback, nothing half-written."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from jaxinv import io
from jaxinv.cli import main
from jaxinv.pipelines import simulate_observation, sunspot_parameters

N = int(os.environ.get("JAXINV_DAMAGED", "120"))
"""Damaged files; more of them find more."""

ODD = ("'abc'", "NaN", "T", "-1", "0", "1E400", "'1.5'", "-1E-30", "99999999999999999999", "''", "( 1.0, 2.0 )", "2.5")
VALUES = ("abc", "nan", "-1", "0", "1e400", "[1, [2]]", "{a: b}", "true", "null", "'", "2020-01-01", ".inf", "!!int x")
FAST = ["--starts", "1", "--max-iterations", "3", "--chunk-size", "12", "--quiet"]
KEYS = (
    "lines",
    "sigma",
    "region",
    "psf_fwhm",
    "fixed",
    "bounds",
    "mu",
    "starts",
    "exclude",
    "seed",
    "method",
    "weights",
)


def a_card(data: bytes, rng: np.random.Generator) -> bytes:
    """Another value in some card of some header."""
    cards = [k for k in range(0, len(data), 80) if data[k + 8 : k + 10] == b"= "]
    k = cards[rng.integers(len(cards))]
    card = data[k : k + 10] + f"{rng.choice(ODD):>20}".encode()
    return data[:k] + card.ljust(80)[:80] + data[k + 80 :]


def no_card(data: bytes, rng: np.random.Generator) -> bytes:
    """A card less."""
    cards = [k for k in range(0, len(data), 80) if data[k + 8 : k + 10] == b"= "]
    k = cards[rng.integers(len(cards))]
    return data[:k] + b"COMMENT".ljust(80) + data[k + 80 :]


def bytes_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of the first blocks or of anywhere."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        end = len(out) if rng.random() < 0.5 else min(len(out), 5760)
        out[rng.integers(end)] = rng.integers(256)
    return bytes(out)


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a file."""
    return data[: rng.integers(len(data))]


def compressed_and_truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a compressed file."""
    return truncated(gzip.compress(data, mtime=0), rng)


def stuffed(data: bytes, rng: np.random.Generator) -> bytes:
    """Something in the middle that is not of the file."""
    k = rng.integers(len(data))
    return data[:k] + rng.bytes(rng.integers(1, 4000)) + data[k:]


def words_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Another word somewhere in a text."""
    words = data.split(b" ")
    words[rng.integers(len(words))] = str(rng.choice(VALUES)).encode()
    return b" ".join(words)


BINARY = (
    a_card,
    a_card,
    a_card,
    no_card,
    bytes_changed,
    truncated,
    compressed_and_truncated,
    stuffed,
)
TEXT = (words_changed, words_changed, truncated, stuffed, bytes_changed)


def a_config(rng: np.random.Generator) -> bytes:
    """Options with odd values, and what no YAML is."""
    kind = rng.integers(8)
    if kind == 0:
        return b"[" * 900 + b"]" * 900
    if kind == 1:
        return b"a: &a [*a]\nlines: *a"
    lines = [f"{rng.choice(KEYS)}: {rng.choice(VALUES)}" for _ in range(rng.integers(1, 3))]
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    truth = sunspot_parameters((8, 8), seed=2)
    cube = simulate_observation({name: x[:3, :4] for name, x in truth.items()})
    io.write_stokes(folder / "cube.fits", cube)
    values = np.asarray(cube.values[:])
    slit = fits.PrimaryHDU((1e4 * values[:, 0].transpose(1, 0, 2)).astype(np.int16))
    cards = {"INSTRUME": "SOT/SP", "TELESCOP": "HINODE", "CRPIX1": 56.5, "CRVAL1": 6302.0, "CDELT1": -0.022,
             "CUNIT1": "Angstrom", "XCEN": 10.0, "YCEN": 0.0, "XSCALE": 0.15, "YSCALE": 0.16,
             "DATE_OBS": "2007-02-27T00:20:10.000"}  # fmt: skip
    slit.header.update(cards)
    slit.writeto(folder / "slit.fits")
    spinor = fits.PrimaryHDU(values[:, :, [0, 3, 1, 2]])
    first, last = cube.wavelength[[0, -1]] - 6302.0
    spinor.header.update(
        {"STOKES": "IVQU", "WLREF": 6302.0, "WLMIN": first, "WLMAX": last, "NWL": len(cube.wavelength)}
    )
    spinor.writeto(folder / "spinor.fits")
    fits.writeto(folder / "cavity.fits", np.full(cube.map_shape, 0.003))
    np.savetxt(folder / "psf.txt", [[x, np.exp(-((x / 15) ** 2))] for x in np.linspace(-40, 40, 17)])
    np.savetxt(folder / "wavelengths.txt", cube.wavelength, header="angstrom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxinv.cli._configure_jax", lambda: None)
        options = ["--no-quicklook", *FAST]
        assert main(["invert", str(folder / "cube.fits"), "-o", str(folder / "maps.fits"), *options]) == 0
        for kind in ("slit", "spinor"):
            sigma = ["--sigma", "1e-3", *options]
            assert main(["invert", str(folder / f"{kind}.fits"), "-o", str(folder / "x.fits"), *sigma]) == 0
            (folder / "x.fits").unlink()
    return folder


KINDS: dict[str, list[str]] = {
    "cube.fits": ["invert", "{}", "-o", "out.fits", *FAST],
    "slit.fits": ["invert", "{}", "-o", "out.fits", "--no-quicklook", *FAST],
    "spinor.fits": ["invert", "{}", "-o", "out.fits", "--sigma", "1e-3", "--no-quicklook", *FAST],
    "maps.fits": ["synthesize", "{}", "-o", "out.fits", "--quiet"],
    "cavity.fits": ["invert", "cube.fits", "-o", "out.fits", "--cavity-map", "{}", "--no-quicklook", *FAST],
    "psf.txt": ["invert", "cube.fits", "-o", "out.fits", "--psf-file", "{}", "--no-quicklook", *FAST],
    "wavelengths.txt": ["invert", "cube.fits", "-o", "out.fits", "--wavelengths", "{}", "--no-quicklook", *FAST],
    "options.yaml": ["invert", "cube.fits", "-o", "out.fits", "--config", "{}", "--no-quicklook", *FAST],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_gets_one_line(
    kind: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jaxinv.cli._configure_jax", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cube.fits").write_bytes((whole / "cube.fits").read_bytes())
    inputs = {"cube.fits", f"bad_{kind}"}
    codes = []
    for k in range(N // len(KINDS)):
        rng = np.random.default_rng([k, *kind.encode()])
        damages = BINARY if kind.endswith(".fits") else TEXT
        if kind == "options.yaml":
            data = a_config(rng)
        else:
            damage = damages[rng.integers(len(damages))]
            data = damage((whole / kind).read_bytes(), rng)
        (tmp_path / f"bad_{kind}").write_bytes(data)
        capsys.readouterr()
        code = main([word.format(f"bad_{kind}") for word in KINDS[kind]])
        said = capsys.readouterr().err.strip().splitlines()
        said = [line for line in said if not line.startswith("jaxinv: note: ")]
        assert code in (0, 2), (k, said)
        assert len(said) == (code == 2), (k, said)
        left = {path.name for path in tmp_path.iterdir()} - inputs
        if code:
            assert sum(letter.isalpha() for letter in said[0]) > 20, (k, said)
            assert not left, (k, left)
        else:
            assert "out.fits" in left, (k, left)
            with fits.open("out.fits") as file:
                file.verify("exception")
        codes.append(code)
        for name in left:
            (tmp_path / name).unlink()
    assert 2 in codes
