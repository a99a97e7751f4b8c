"""Stokes cubes from disk in any arrangement, against what astropy reads and against what was written."""

import itertools
from contextlib import nullcontext
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from jaxinv import io
from jaxinv.observation import StokesCube
from jaxinv.pipelines.preparation import cut

NY, NX, NW = 3, 5, 7
WAVELENGTH = 6302.0 + 0.02 * np.arange(NW)
VALUES = np.random.default_rng(0).normal(size=(NY, NX, 4, NW)).astype(np.float32)
CARDS = {
    "y": ("HPLT-TAN", "arcsec", 2.0, 10.0, 0.16),
    "x": ("HPLN-TAN", "arcsec", 1.0, -20.0, 0.15),
    "stokes": ("STOKES", "", 1.0, 1.0, 1.0),
    "wavelength": ("AWAV", "Angstrom", 1.0, WAVELENGTH[0], 0.02),
}
ROLES = ("y", "x", "stokes", "wavelength")


def write(path: Path, order: tuple[str, ...] = ROLES, values: np.ndarray = VALUES, **changes: tuple) -> Path:
    """A FITS cube whose NumPy axes are `order`."""
    hdu = fits.PrimaryHDU(np.transpose(values, [ROLES.index(role) for role in order]))
    for number, role in zip(range(len(order), 0, -1), order, strict=True):
        for key, value in zip(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"), {**CARDS, **changes}[role], strict=True):
            if value != "":
                hdu.header[f"{key}{number}"] = value
    hdu.writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("order", itertools.permutations(ROLES))
def test_any_order_of_axes(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = write(tmp_path / "cube.fits", order)
    cube = io.read_stokes(path)
    np.testing.assert_array_equal(cube.values[:], VALUES)
    np.testing.assert_array_equal(cube.values[1:2], VALUES[1:2])
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH, atol=1e-6)
    assert cube.values[:].dtype == np.float32
    number = len(order) - order.index("x")
    theirs = WCS(fits.getheader(path)).wcs.crval[number - 1] * 3600
    assert cube.header["CRVAL1"] == pytest.approx(theirs)
    assert cube.header["CTYPE2"] == "HPLT-TAN"


@pytest.mark.parametrize("kind", ["PC", "CD", "CROTA2", "none"])
@pytest.mark.parametrize("order", itertools.permutations(ROLES))
def test_the_corners_of_a_rotated_map_stay_where_they_are(tmp_path: Path, order: tuple[str, ...], kind: str) -> None:
    path, turn = write(tmp_path / "cube.fits", order), np.radians(27.0)
    x, y = (len(order) - order.index(role) for role in ("x", "y"))
    step = {x: 0.15, y: 0.16}
    with fits.open(path, mode="update") as hdus:
        header = hdus[0].header
        matrix = {(x, x): np.cos(turn), (x, y): -np.sin(turn) * 0.16 / 0.15, (y, x): np.sin(turn) * 0.15 / 0.16}
        matrix |= {(y, y): np.cos(turn)}
        if kind == "CD":
            steps = [header.pop(f"CDELT{k}") for k in range(1, 5)]
            matrix = {(i, j): value * step[i] for (i, j), value in matrix.items()}
            matrix |= {(k, k): steps[k - 1] for k in range(1, 5) if k not in (x, y)}
        for (i, j), value in matrix.items():
            if kind in ("PC", "CD"):
                header[f"{kind}{i}_{j}"] = value
        if kind == "CROTA2":
            header[f"CROTA{y}"] = 27.0
        truth = WCS(header)
    pixels = np.ones((4, 4))
    pixels[:, x - 1], pixels[:, y - 1] = [1, NX, 1, NX], [1, 1, NY, NY]
    world = truth.wcs_pix2world(pixels, 1)[:, [x - 1, y - 1]]
    cube = io.read_stokes(path)
    assert cube.header["CUNIT1"] == "arcsec"
    np.testing.assert_allclose(WCS(dict(cube.header)).wcs_pix2world(pixels[:, [x - 1, y - 1]], 1), world, atol=1e-10)
    part = cut(cube, (1, 4, 1, 3))
    found = WCS(dict(part.header)).wcs_pix2world([[1, 1], [3, 2]], 1)
    expected = np.ones((2, 4))
    expected[:, x - 1], expected[:, y - 1] = [2, 4], [2, 3]
    np.testing.assert_allclose(found, truth.wcs_pix2world(expected, 1)[:, [x - 1, y - 1]], atol=1e-10)


def test_a_header_that_says_nothing_of_the_sky_or_half_of_it_gives_no_note(tmp_path: Path) -> None:
    for spatial in ("", "HPLN-TAN"):
        image = fits.ImageHDU(VALUES, name="STOKES")  # an extension has PCOUNT, which is no PCi_j
        image.header.update({"CTYPE2": "STOKES", "CTYPE1": "AWAV", "CUNIT1": "Angstrom", "CRPIX1": 1.0})
        image.header.update({"CRVAL1": WAVELENGTH[0], "CDELT1": 0.02} | ({"CTYPE3": spatial} if spatial else {}))
        table = fits.ImageHDU(WAVELENGTH, name="WAVELENGTH")
        fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(tmp_path / "cube.fits", overwrite=True)
        header = io.read_stokes(tmp_path / "cube.fits").header
        assert dict(header) == ({"CTYPE1": spatial} if spatial else {})


def test_a_slit_keeps_both_coordinates_of_the_sky(tmp_path: Path) -> None:
    path = write(tmp_path / "cube.fits", ("x", "y", "stokes", "wavelength"), VALUES[:, :1])
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["PC3_4"], hdus[0].header["PC4_3"] = -0.3, 0.3
        truth = WCS(hdus[0].header)
    world = WCS(dict(io.read_stokes(path).header)).wcs_pix2world([[1, 1], [1, NY]], 1)
    np.testing.assert_allclose(world, truth.wcs_pix2world([[1, 1, 1, 1], [1, 1, NY, 1]], 1)[:, [3, 2]], atol=1e-10)


@pytest.mark.parametrize(("unit", "scale"), [("nm", 10), ("um", 1e4), ("m", 1e10), ("Angstrom", 1)])
def test_units_of_wavelength(tmp_path: Path, unit: str, scale: float) -> None:
    axis = ("AWAV", unit, 1.0, WAVELENGTH[0] / scale, 0.02 / scale)
    np.testing.assert_allclose(
        io.read_stokes(write(tmp_path / "a.fits", wavelength=axis)).wavelength, WAVELENGTH, rtol=1e-9
    )


def test_vacuum_wavelengths_become_air(tmp_path: Path) -> None:
    """H alpha: 6564.614 in vacuum, 6562.801 in air (NIST)."""
    axis = ("WAVE", "Angstrom", 1.0, 6564.614, 0.02)
    assert io.read_stokes(write(tmp_path / "a.fits", wavelength=axis)).wavelength[0] == pytest.approx(
        6562.801, abs=2e-3
    )


def test_falling_wavelengths_and_permuted_stokes(tmp_path: Path) -> None:
    axis = ("AWAV", "Angstrom", 1.0, WAVELENGTH[-1], -0.02)
    cube = io.read_stokes(write(tmp_path / "a.fits", values=VALUES[..., ::-1], wavelength=axis))
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH, atol=1e-6)
    np.testing.assert_array_equal(cube.values[:], VALUES)
    backwards = ("STOKES", "", 1.0, 4.0, -1.0)
    cube = io.read_stokes(write(tmp_path / "b.fits", values=VALUES[:, :, ::-1], stokes=backwards))
    np.testing.assert_array_equal(cube.values[:], VALUES)


def test_scaled_integers_and_blanks(tmp_path: Path) -> None:
    counts = np.round(VALUES * 100).astype(np.int16)
    path = write(tmp_path / "a.fits", values=counts)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as file:
        file[0].header.update({"BSCALE": 0.5, "BZERO": 3.0, "BLANK": int(counts[0, 0, 0, 0])})
    values = io.read_stokes(path).values[:]
    expected = fits.getdata(path).astype(np.float32)
    np.testing.assert_allclose(values, expected, equal_nan=True)
    assert np.isnan(values[0, 0, 0, 0])


def test_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    data, header = fits.getdata(path, header=True)
    header["CTYPE5"] = "TIME"
    fits.writeto(tmp_path / "b.fits", data[None], header)
    np.testing.assert_array_equal(io.read_stokes(tmp_path / "b.fits").values[:], VALUES)
    fits.writeto(tmp_path / "c.fits", np.stack([data, data]), header)
    with pytest.raises(io.InputError, match="more than two axes"):
        io.read_stokes(tmp_path / "c.fits")


def test_one_spectrum_and_one_slit(tmp_path: Path) -> None:
    header = fits.Header()
    for number, role in ((1, "wavelength"), (2, "stokes")):
        for key, value in zip(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"), CARDS[role], strict=True):
            if value != "":
                header[f"{key}{number}"] = value
    fits.writeto(tmp_path / "a.fits", VALUES[0, 0], header)
    np.testing.assert_array_equal(io.read_stokes(tmp_path / "a.fits").values[:], VALUES[:1, :1])
    fits.writeto(tmp_path / "b.fits", VALUES[:, 0], header)
    np.testing.assert_array_equal(io.read_stokes(tmp_path / "b.fits").values[:], VALUES[:, :1])


def test_wavelengths_in_an_extension_and_axes_by_name(tmp_path: Path) -> None:
    table = fits.ImageHDU(WAVELENGTH / 10, name="WAVELENGTH")
    table.header["BUNIT"] = "nm"
    fits.HDUList([fits.PrimaryHDU(VALUES), table]).writeto(tmp_path / "a.fits")
    cube = io.read_stokes(tmp_path / "a.fits")
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH)
    np.testing.assert_array_equal(cube.values[:], VALUES)
    fits.writeto(tmp_path / "b.fits", np.moveaxis(VALUES, 3, 0))
    cube = io.read_stokes(tmp_path / "b.fits", axes="wavelength y x stokes", wavelength=WAVELENGTH * u.AA)
    np.testing.assert_array_equal(cube.values[:], VALUES)


def test_a_written_cube_is_read_back(tmp_path: Path) -> None:
    uneven = WAVELENGTH + np.array([0, 0, 0.003, 0, 0.01, 0, 0])
    header = {"CTYPE1": "HPLN-TAN", "CUNIT1": "arcsec", "CRPIX1": 1.0, "CRVAL1": 3.0, "CDELT1": 0.1, "TELESCOP": "X"}
    cube = StokesCube(VALUES, uneven, unit="DN", header=header)
    io.write_stokes(tmp_path / "a.fits", cube)
    again = io.read_stokes(tmp_path / "a.fits")
    np.testing.assert_array_equal(again.values[:], VALUES)
    np.testing.assert_array_equal(again.wavelength, uneven)
    assert (again.unit, dict(again.header)) == ("DN", header)
    with pytest.raises(io.OutputError, match="exists already"):
        io.write_stokes(tmp_path / "a.fits", cube)


def test_arrays_and_quantities() -> None:
    cube = io.stokes_cube(VALUES * u.DN, WAVELENGTH / 10 * u.nm, header={"TELESCOP": "X"})
    assert (cube.unit, cube.header["TELESCOP"]) == ("DN", "X")
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH)
    assert io.stokes_cube(VALUES[0, 0], WAVELENGTH).values.shape == (1, 1, 4, NW)
    assert io.stokes_cube(VALUES[0], WAVELENGTH).values.shape == (NX, 1, 4, NW)
    turned = io.stokes_cube(np.moveaxis(VALUES, 2, 0)[..., ::-1], WAVELENGTH[::-1], axes="stokes y x wavelength")
    np.testing.assert_array_equal(turned.values, VALUES)
    for arguments, message in (
        ((VALUES, WAVELENGTH * u.s), "not a length"),
        ((VALUES[:, :, :3], WAVELENGTH), "length 4"),
        ((VALUES, WAVELENGTH[:-1]), "do not match"),
        ((VALUES, WAVELENGTH[:, None]), "do not match"),
    ):
        with pytest.raises(io.InputError, match=message):
            io.stokes_cube(*arguments)
    with pytest.raises(io.InputError, match="must name the 4 axes"):
        io.stokes_cube(VALUES, WAVELENGTH, axes="y x z wavelength")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stokes": ("LINEAR", "", 1.0, 1.0, 1.0)}, "no STOKES axis; its CTYPEs are"),
        ({"stokes": ("STOKES", "", 1.0, -4.0, 1.0)}, "lacks Stokes I, Q, U, V"),
        ({"wavelength": ("FREQ", "Hz", 1.0, 4.7e14, 1e9)}, "no wavelength axis"),
        ({"wavelength": ("AWAV", "s", 1.0, 6302.0, 0.02)}, "'s', not Angstrom"),
        ({"wavelength": ("AWAV", "", 1.0, 6302.0, 0.02)}, "cannot be: check CUNIT"),
        ({"wavelength": ("AWAV", "nm", 1.0, 6302.0 * 100, 0.02)}, "cannot be"),
    ],
)
def test_headers_that_do_not_say_enough(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(io.InputError, match=message):
        io.read_stokes(write(tmp_path / "a.fits", **changes))


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    whole = path.read_bytes()
    (tmp_path / "short.fits").write_bytes(whole[: len(whole) - 2880])
    (tmp_path / "head.fits").write_bytes(whole[:1000])
    (tmp_path / "text.fits").write_text("not FITS")
    (tmp_path / "empty").mkdir()
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    for name, message in (
        ("short.fits", "truncated: its headers announce 5760 bytes and it has 2880"),
        ("head.fits", "FITS"),
        ("text.fits", "not a FITS file"),
        ("missing.fits", "no file"),
        ("empty", "holds no FITS file"),
        ("none.fits", "no image of two or more axes"),
    ):
        with pytest.raises(io.InputError, match=message):
            io.read_stokes(tmp_path / name)


def slit(path: Path, values: np.ndarray, second: int, **cards: object) -> None:
    hdu = fits.PrimaryHDU(values)
    hdu.header.update(
        {"INSTRUME": "SOT/SP", "TELESCOP": "HINODE", "XCEN": 0.15 * second, "XSCALE": 0.15, "YSCALE": 0.16}
    )
    hdu.header.update({"DATE_OBS": f"2007-02-27T00:20:{second:02d}.000", "CDELT1": -0.0221, **cards})
    hdu.writeto(path)


def test_slits_are_assembled_in_the_order_of_their_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    light = rng.integers(-2000, 60000, (4, 6, 3, 112))  # slit, stokes after the move below
    light[:, :, 0] = rng.integers(1000, 60000, (4, 6, 112))
    light[:, :, 1:] = rng.integers(-2000, 2000, (4, 6, 2, 112))
    full = np.concatenate([light, light[:, :, 2:]], axis=2)  # (slit, y, 4, wavelength)
    for k, name in enumerate(("d", "b", "c", "a")):
        slit(tmp_path / f"{name}.fits", np.moveaxis(full[k], 1, 0).astype(np.uint16).astype(np.int16), k)
    cube = io.read_stokes(tmp_path)
    np.testing.assert_array_equal(cube.values[:], np.moveaxis(full, 0, 1))
    np.testing.assert_array_equal(cube.values[2:4], np.moveaxis(full, 0, 1)[2:4])
    assert cube.header["CDELT1"] == pytest.approx(0.15)
    assert cube.header["DATE-OBS"] == "2007-02-27T00:20:00.000"
    slit(tmp_path / "e.fits", np.zeros((4, 5, 112), np.int16), 9)
    with pytest.raises(io.InputError, match="belong to different maps"):
        io.read_stokes(tmp_path)
    write(tmp_path / "f.fits")
    with pytest.raises(io.InputError, match="not a Hinode/SP level-1 slit"):
        io.read_stokes(tmp_path)


def test_a_real_hinode_slit(reference_data: Path) -> None:
    folder = reference_data / "spectra/hinode"
    path = folder / "SP4D20070227_002010.0C.fits"
    cube = io.read_stokes(path)
    raw = fits.getdata(path).astype(float)
    assert cube.map_shape == (1024, 1)
    assert cube.unit == "DN"
    raw[0][raw[0] < 0] += 65536
    np.testing.assert_array_equal(cube.values[:][:, 0], np.moveaxis(raw, 0, 1))
    listed = np.loadtxt(folder / "wavelengthHinode.txt").ravel()
    np.testing.assert_allclose(cube.wavelength[: len(listed)], listed[:112], atol=0.03)


def test_real_pixels_with_wavelengths_in_an_extension(reference_data: Path) -> None:
    cube = io.read_stokes(reference_data / "spectra/hinode/hinode4d.20130912.sample.fits")
    assert cube.values.shape == (5, 5, 4, 112)
    np.testing.assert_allclose(cube.wavelength[[0, -1]], [6300.883, 6303.262], atol=1e-3)


def test_real_profiles_and_cavity_map(reference_data: Path) -> None:
    for name, width in (("HINODE_SP_ins_prof", 0.025), ("crisp", 0.056), ("CRISP_6173_1mA", 0.056)):
        offset, transmission = io.read_spectral_psf(reference_data / f"spectra/psf/{name}.psf")
        fine = np.linspace(-0.2, 0.2, 4001)
        above = np.interp(fine, offset, transmission) > transmission.max() / 2
        assert np.ptp(fine[above]) == pytest.approx(width, abs=0.006)
    cavity = io.read_map(reference_data / "spectra/crisp/crisp.6301_6302.2019-05-10_cmap.fits")
    assert cavity.shape == (120, 350)
    assert np.abs(cavity).max() < 0.02


def test_tables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.psf").write_text("1 2 3\n1 2 3\n1 2 3\n")
    (tmp_path / "b.psf").write_text("one two\n")
    (tmp_path / "c.psf").write_text("-1 0\n0 nan\n1 0\n")
    for name, message in (("a", "two columns"), ("b", "not a table"), ("c", "NaN"), ("d", "no file")):
        with pytest.raises(io.InputError, match=message):
            io.read_spectral_psf(tmp_path / f"{name}.psf")
    with pytest.raises(io.InputError, match="no two-dimensional image"):
        io.read_map(write(tmp_path / "cube.fits"))


def test_a_masked_array_keeps_its_mask() -> None:
    hidden = np.ma.array(VALUES, mask=VALUES > 1)
    for axes, array in (("y x stokes wavelength", hidden), ("wavelength stokes y x", hidden.transpose(3, 2, 0, 1))):
        np.testing.assert_array_equal(io.stokes_cube(array, WAVELENGTH, axes=axes).mask, VALUES <= 1)
    both = io.stokes_cube(hidden, WAVELENGTH, mask=VALUES > 0)
    np.testing.assert_array_equal(both.mask, (VALUES <= 1) & (VALUES > 0))


@pytest.mark.parametrize("name", ["cube.fits.gz", "cube.fits"])
def test_a_flipped_bit_never_goes_unnoticed(tmp_path: Path, name: str) -> None:
    """In a compressed file or one with checksums: what is read is what was written, or there is an error or a note."""
    path = tmp_path / name
    io.write_stokes(path, io.stokes_cube(VALUES, WAVELENGTH))
    if name == "cube.fits":
        with fits.open(path) as hdus:
            hdus.writeto(path, checksum=True, overwrite=True)
    good = path.read_bytes()
    np.testing.assert_array_equal(io.read_stokes(path).values[:], VALUES)
    rng, refused = np.random.default_rng(7), 0
    for _ in range(150):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            found = io.read_stokes(path)
        except (io.InputError, UserWarning) as error:  # the tests make errors of notes
            refused += len(str(error).splitlines()) == 1
        else:
            np.testing.assert_array_equal(found.values[:], VALUES)
            np.testing.assert_allclose(found.wavelength, WAVELENGTH, rtol=1e-9)
    assert refused > 130


def test_data_that_are_not_what_their_sum_says_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cube.fits"
    io.write_stokes(path, io.stokes_cube(VALUES, WAVELENGTH))
    with fits.open(path) as hdus:
        hdus.writeto(path, checksum=True, overwrite=True)
    with fits.open(path) as hdus:  # an edited header, as programs leave it
        hdus[0].header["OBSERVER"] = "me"
        hdus.writeto(path, overwrite=True)
    with pytest.warns(UserWarning, match="the header of part 0 was changed"):
        np.testing.assert_array_equal(io.read_stokes(path).values[:], VALUES)
    text = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        place = hdus.fileinfo(0)["datLoc"]
    text[place] ^= 1
    path.write_bytes(text)
    with pytest.raises(io.InputError, match="part 0 are not what their DATASUM says"):
        io.read_stokes(path)


def bare(path: Path) -> Path:
    """A cube that says nothing of its axes."""
    fits.writeto(path, VALUES)
    return path


@pytest.mark.parametrize("kind", ["text", "text in nm", "nm without a word", "FITS", "FITS in nm", "offsets"])
def test_wavelengths_from_a_file(tmp_path: Path, kind: str) -> None:
    path, reference = tmp_path / "wavelengths", None
    text = {
        "text": (WAVELENGTH, "lambda"),
        "text in nm": (WAVELENGTH / 10, "wavelength (nm)"),
        "nm without a word": (WAVELENGTH / 10, ""),
    }
    if kind in text:
        np.savetxt(path, text[kind][0], header=text[kind][1])
    else:
        offset = WAVELENGTH - 6302.0 if kind == "offsets" else WAVELENGTH
        hdu = fits.PrimaryHDU(offset / 10 if kind == "FITS in nm" else offset)
        if kind == "FITS in nm":
            hdu.header["BUNIT"] = "nm"
        hdu.writeto(path)
        reference = 6302.0 if kind == "offsets" else None
    with pytest.warns(UserWarning, match="are taken as nm") if kind == "nm without a word" else nullcontext():
        wavelength = io.read_wavelengths(path, reference=reference)
    cube = io.read_stokes(bare(tmp_path / "cube.fits"), wavelength=wavelength)
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH, rtol=1e-12)
    np.testing.assert_array_equal(cube.values[:], VALUES)


def test_wavelengths_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    for content, expected in (
        ("-1\n0\n1\n", "offsets: say from what wavelength by --wavelength-reference"),
        ("a b\n", "not a table of numbers"),
        ("# nothing\n", "two or more wavelengths, all of them numbers; found 0"),
        ("6302\nnan\n", "found 1 of 2 that are not finite"),
    ):
        path.write_text(content)
        with pytest.raises(io.InputError, match=expected):
            io.read_wavelengths(path)
    with pytest.raises(io.InputError, match="there is no file"):
        io.read_wavelengths(tmp_path / "nowhere")
    with pytest.raises(io.InputError, match=r"give the wavelengths \(--wavelengths FILE"):
        io.read_stokes(bare(tmp_path / "cube.fits"), axes="y x stokes wavelength")
    with pytest.raises(io.InputError, match="7 samples along the wavelength; 5 wavelengths were given"):
        io.read_stokes(tmp_path / "cube.fits", axes="y x stokes wavelength", wavelength=WAVELENGTH[:5])


def test_spinors_cards(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(VALUES[:, :4, [0, 3, 1, 2]])  # as many columns as there are Stokes parameters
    hdu.header.update({"STOKES": "IVQU", "WLREF": 6302.0, "WLMIN": 0.0, "WLMAX": 0.12, "NWL": NW})
    hdu.writeto(tmp_path / "profiles.fits")
    cube = io.read_stokes(tmp_path / "profiles.fits")
    np.testing.assert_array_equal(cube.values[:], VALUES[:, :4])
    np.testing.assert_allclose(cube.wavelength, WAVELENGTH, rtol=1e-12)


def test_spinors_profiles_are_the_observed_ones_it_fitted(reference_data: Path) -> None:
    folder = reference_data / "spectra/hinode"
    fitted = io.read_stokes(folder / "spinor_inverted_profs_20130912_5x5.fits")
    seen = io.read_stokes(folder / "hinode4d.20130912.sample.fits")
    assert fitted.wavelength[[0, -1]] == pytest.approx([6300.7, 6303.3])
    spectra = np.asarray(fitted.values[:], float)
    resampled = np.apply_along_axis(lambda y: np.interp(seen.wavelength, fitted.wavelength, y), -1, spectra)
    alike = lambda y, x, k: np.corrcoef(resampled[y, x, k], seen.values[y : y + 1][0, x, k])[0, 1]  # noqa: E731
    assert min(alike(y, x, 0) for y in range(5) for x in range(5)) > 0.98
    assert alike(4, 0, 3) > 0.5  # the one pixel with a circular polarization above its noise
