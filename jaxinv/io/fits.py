"""Opening FITS files without surprises: complete, native byte order, scaled, and read only where asked."""

from __future__ import annotations

import dataclasses
import gzip
import math
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.compute.atomic import write_atomically
from jaxinv.io.errors import InputError

ORIGIN_CARDS = (
    "TELESCOP",
    "INSTRUME",
    "DATE-OBS",
    "DATE-BEG",
    "DATE-END",
    "DATE-AVG",
    "OBSERVER",
    "TARGET",
    "NOAA_NUM",
)
OBSERVER_CARDS = (
    "RSUN_REF",
    "RSUN_OBS",
    "DSUN_OBS",
    "HGLN_OBS",
    "HGLT_OBS",
    "CRLN_OBS",
    "CRLT_OBS",
    "SOLAR_B0",
    "SOLAR_P0",
)


def open_fits(path: str | os.PathLike[str], *, stale_sums: bool = False) -> Any:
    """An astropy HDU list whose images are memory-mapped and not yet scaled.

    Args:
        path: of the file.
        stale_sums: data that are not what their DATASUM says are a note, as of a picture that was cut out of another.

    Raises:
        InputError: there is no such file, it is not FITS, it is shorter than its headers say, or its contents are not
            what their checksums (gzip's, CHECKSUM, DATASUM) say.
    """
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}" + (": it is a folder" if path.is_dir() else ""))
    size = path.stat().st_size
    with path.open("rb") as file:
        card = file.read(80)
        start = card[:9]
    if start == b"SIMPLE  =" and card[9:].split(b"/")[0].strip() != b"T":
        raise InputError(f"{path} says that it is not standard FITS (SIMPLE is not T): write it anew")
    if not (start == b"SIMPLE  =" or start[:2] == b"\x1f\x8b"):
        raise InputError(f"{path} is not a FITS file: it does not begin with a SIMPLE card")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the library only warns of is an error below
            _check_headers(path)
            hdus = fits.open(path, memmap=True, do_not_scale_image_data=True)
            places: list[Any] = [hdus.fileinfo(k) for k in range(len(hdus))]
        ends = [place["datLoc"] + place["datSpan"] for place in places]
    except Exception as error:  # a damaged header can fail anywhere in the library
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as FITS ({why:.200}): copy it again") from None
    if start[:2] != b"\x1f\x8b" and max(ends) > size:
        hdus.close()
        raise InputError(
            f"{path} is truncated: its headers announce {max(ends)} bytes and it has {size}; copy it again"
        )
    if start[:2] != b"\x1f\x8b" and size - max(ends) >= 2880:
        warnings.warn(f"{path}: {size - max(ends)} bytes after its last part are no FITS", stacklevel=2)
    try:
        _verify(path, places, stale_sums)
    except (InputError, OSError, EOFError, zlib.error) as error:
        hdus.close()
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({str(error).splitlines()[0]}): copy it again") from None
    return hdus


def is_compressed(path: Path) -> bool:
    """Whether a file is gzip's."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _check_headers(path: Path) -> None:
    """Every part states its sizes; of a compressed file, the first. The library can work for ever on one that does not.

    Raises:
        ValueError: it names the card.
    """
    from astropy.io import fits

    compressed = is_compressed(path)
    with gzip.open(path) if compressed else path.open("rb") as file:
        while True:
            try:
                header = fits.Header.fromfile(file)
            except (EOFError, OSError):
                return  # the end, or what the library will say more of
            n_axes = _size(header, "NAXIS", 999)
            n_values = math.prod(_size(header, f"NAXIS{k + 1}") for k in range(n_axes)) if n_axes else 0
            kind: Any = header.get("BITPIX")
            if kind not in _BITPIX or isinstance(kind, bool):
                raise ValueError(f"the card BITPIX is {kind!r}")
            groups, before = (_size(header, card, default=d) for card, d in (("GCOUNT", 1), ("PCOUNT", 0)))
            size = abs(kind) // 8 * groups * (before + n_values)
            if compressed or "GROUPS" in header:
                return
            file.seek(-(-size // 2880) * 2880, os.SEEK_CUR)


def _size(header: Any, card: str, most: int = 1 << 62, default: int | None = None) -> int:
    value = header.get(card, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"the card {card} is {value!r}")
    return value


_BITPIX = (8, 16, 32, 64, -32, -64)
_BLOCK = 1 << 22


def _verify(path: Path, places: Sequence[Any], stale_sums: bool) -> None:
    """Compare a file with the checksums that it carries (FITS standard 4.0, appendix J); reading looks at gzip's.

    A CHECKSUM that does not hold while the DATASUM does is a note: the header was edited, or is damaged.

    Raises:
        InputError: the data are not what their DATASUM says.
        OSError, EOFError, zlib.error: the compressed file is damaged.
    """
    compressed = is_compressed(path)
    with gzip.open(path) if compressed else path.open("rb") as file:
        for number, place in enumerate(places):
            file.seek(place["hdrLoc"])
            header = file.read(place["datLoc"] - place["hdrLoc"])
            cards = {header[k : k + 8]: header[k + 10 : k + 80] for k in range(0, len(header), 80)}
            stated = {name: _text(cards.get(name.ljust(8).encode(), b"")) for name in ("CHECKSUM", "DATASUM")}
            if not any(stated.values()):
                continue
            data = _ones_complement_sum(file, place["datSpan"])
            whole = _fold(data + _fold(int(np.frombuffer(header, ">u4").sum(dtype=np.uint64))))
            if stated["DATASUM"].isdigit() and int(stated["DATASUM"]) != data:
                if stale_sums:
                    changed = f"the data of part {number} were changed since their DATASUM was written, or are damaged"
                    warnings.warn(f"{path}: {changed}", stacklevel=3)
                    continue
                raise InputError(
                    f"{path}: the data of part {number} are not what their DATASUM says: copy it again, or, if they "
                    "were changed on purpose, write the sum anew (astropy's `fitscheck --write`)"
                )
            if stated["CHECKSUM"].strip("0") and whole not in (0, 0xFFFFFFFF):
                # Programs that edit a header often leave the old sum there.
                changed = f"the header of part {number} was changed since its CHECKSUM was written"
                warnings.warn(f"{path}: {changed}", stacklevel=3)
        while compressed and file.read(_BLOCK):
            pass


def _text(card: bytes) -> str:
    """The string of a card's value field; empty where there is none."""
    return card.decode("ascii", "replace").partition("'")[2].partition("'")[0].strip()


def _ones_complement_sum(file: Any, n: int) -> int:
    total = 0
    while n > 0:
        block = file.read(min(_BLOCK, n))
        if not block:
            raise EOFError("the file ends before its data do")
        total = _fold(total + int(np.frombuffer(block, ">u4").sum(dtype=np.uint64)))
        n -= len(block)
    return total


def _fold(total: int) -> int:
    """A sum in 32 bits whose carries go round."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def number_of(path: str | os.PathLike[str], header: Any, card: str, default: float) -> float:
    """A card as a finite number, `default` where there is none.

    Raises:
        InputError: it is something else; says what.
    """
    value = header.get(card, default)
    value = default if value is None or str(value).strip() == "" else value
    if not _finite(value):
        raise InputError(f"{path}: the card {card} is {value!r}, not a finite number: mend the header")
    return float(value)


def image_of(path: str | os.PathLike[str], hdu: Any) -> np.ndarray:
    """The raw array of an image.

    Raises:
        InputError: the library cannot make one of what the header says.
    """
    try:
        data = hdu.data
    except Exception as error:  # a damaged header can fail anywhere in the library
        raise InputError(f"{path}: the image cannot be read ({' '.join(str(error).split()):.150})") from None
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iuf" or 0 in data.shape:
        raise InputError(f"{path}: the part {hdu.name or 'PRIMARY'} holds no image of numbers")
    return data


def native(values: np.ndarray) -> np.ndarray:
    """An array in the byte order of this machine."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def write_fits(path: str | os.PathLike[str], hdus: Any, *, overwrite: bool) -> None:
    """Write an astropy HDU list, compressed where the name ends in `.gz`, whole or not at all.

    Raises:
        OutputError: the file exists, or cannot be written.
    """

    def write(file: Any) -> None:
        if not str(path).lower().endswith(".gz"):
            hdus.writeto(file)
            return
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as compressed:
            hdus.writeto(compressed)

    write_atomically(path, write, overwrite=overwrite)


@dataclasses.dataclass(frozen=True)
class _OnDisk:
    """The raw array of an image, of which nothing stays in memory."""

    path: Path
    dtype: Any
    start: int
    shape: tuple[int, ...]

    def __getitem__(self, index: tuple[Any, ...], /) -> np.ndarray:
        return np.array(np.memmap(self.path, self.dtype, "r", self.start, self.shape)[index])


class ImageRows:
    """A FITS image as `(ny, nx, 4, n_wavelength)` float32, read from disk only for the rows asked for.

    The file is mapped anew for each of them: pages that stay mapped would count as memory of this process.

    Args:
        path: of the file.
        image: the raw array, memory-mapped.
        header: its header, for BSCALE, BZERO and BLANK.
        order: the raw axes that become y, x, stokes, wavelength; -1 for an axis of length 1 that the image lacks.
        stokes: index along the raw Stokes axis of I, Q, U and V.
        reverse: whether wavelength runs downwards in the file.
        start: the byte of the file where the image begins; `None`: it is compressed, and stays in memory.
    """

    def __init__(
        self,
        path: Path,
        image: np.ndarray,
        header: Any,
        order: Sequence[int],
        stokes: Sequence[int],
        *,
        reverse: bool = False,
        start: int | None = None,
    ) -> None:
        self._image = image if start is None else _OnDisk(path, image.dtype, start, image.shape)
        self._scale, self._zero = number_of(path, header, "BSCALE", 1), number_of(path, header, "BZERO", 0)
        self._blank = header.get("BLANK") if image.dtype.kind in "iu" else None
        self._order, self._stokes, self._reverse = tuple(order), list(stokes), reverse
        extent = [image.shape[axis] if axis >= 0 else 1 for axis in order]
        self.shape = (extent[0], extent[1], 4, extent[3])

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        n_axes = len(self._image.shape)
        index: list[Any] = [0] * n_axes
        for axis in self._order:
            if axis >= 0:
                index[axis] = slice(None)
        if self._order[0] >= 0:
            index[self._order[0]] = rows
        part = self._image[tuple(index)]
        kept = [axis for axis in range(n_axes) if isinstance(index[axis], slice)]
        present = [kept.index(axis) for axis in self._order if axis >= 0]
        part = np.transpose(part, present)
        for position, axis in enumerate(self._order):
            if axis < 0:
                part = np.expand_dims(part, position)
        if self._order[0] < 0:
            part = part[rows]
        part = part[:, :, self._stokes]
        part = part[..., ::-1] if self._reverse else part
        values = part.astype(np.float32)
        if self._blank is not None:
            values[part == self._blank] = np.nan
        if (self._scale, self._zero) != (1.0, 0.0):
            values = values * np.float32(self._scale) + np.float32(self._zero)
        return values


def spatial_cards(header: Any, x_axis: int | None, y_axis: int | None, hdus: Any = None) -> dict[str, Any]:
    """Cards of the two spatial axes, renumbered to 1 (x) and 2 (y), and those that say where the data come from.

    Args:
        header: of the cube.
        x_axis: FITS number (from 1) of the axis that becomes x; `None` where there is none.
        y_axis: the same for y.
        hdus: the file, for world coordinates that are tables.
    """
    cards = _world_cards(header, x_axis, y_axis, hdus)
    for key in (*ORIGIN_CARDS, *OBSERVER_CARDS):
        if key in header and header[key] not in ("", None):
            cards[key] = header[key]
    if "DATE-OBS" not in cards and header.get("DATE_OBS"):
        cards["DATE-OBS"] = header["DATE_OBS"]
    return writable(cards)


def writable(cards: dict[str, Any]) -> dict[str, Any]:
    """Those that a header can hold: no infinity, of a card such as `DSUN_OBS = 1E400`."""
    return {key: value for key, value in cards.items() if isinstance(value, str | bool) or _finite(value)}


def is_world_card(key: str) -> bool:
    """Whether a card belongs to the world coordinates of an image."""
    return key.startswith(("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "PC", "PV")) or key in _FRAME


_FRAME = ("LONPOLE", "LATPOLE", "RADESYS", "EQUINOX")


def _world_cards(header: Any, x_axis: int | None, y_axis: int | None, hdus: Any) -> dict[str, Any]:
    """World coordinates of x and y as astropy understands the cube's (PCi_j, CDi_j, CROTA2), in the header's units."""
    from astropy.wcs import WCS

    given = [(1, x_axis), (2, y_axis)]
    plain = {
        f"{key}{new}": header[f"{key}{old}"]
        for new, old in given
        for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT")
        if old is not None and f"{key}{old}" in header
    }
    for key in [key for key in plain if not key.startswith(("CTYPE", "CUNIT")) and not _finite(plain[key])]:
        warnings.warn(f"the card {key} is {plain[key]!r:.60}, not a number: no world coordinates", stacklevel=2)
        return {}
    if not plain:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on dates and units that it put right
            whole = WCS(header, fobj=hdus)
            axes = _sky_axes(whole, x_axis, y_axis)
            if axes is None:
                return plain
            world = whole.sub(list(axes))
            matrix, step = world.pixel_scale_matrix, np.array(world.wcs.cdelt)
    except Exception as error:  # what the library makes of an odd header is many things
        if any(re.fullmatch(r"(PC|CD)\d_\d|CROTA\d", key) for key in header):
            why = " ".join(str(error).split())
            warnings.warn(f"rotations of the world coordinates are left out ({why:.150})", stacklevel=2)
        return plain
    if np.any(step == 1) and whole.wcs.has_cd():  # CDi_j has no steps of its own
        step = np.hypot(*matrix.T)
    cards: dict[str, Any] = {}
    for k, axis in enumerate(axes):
        shown = str(header.get(f"CUNIT{axis}", "") or world.wcs.cunit[k])
        try:
            factor = float(world.wcs.cunit[k].to(shown))
        except (ValueError, TypeError):
            shown, factor = str(world.wcs.cunit[k]), 1.0
        cards[f"CTYPE{k + 1}"] = str(world.wcs.ctype[k])
        cards[f"CUNIT{k + 1}"] = shown
        cards[f"CRPIX{k + 1}"] = float(world.wcs.crpix[k])
        cards[f"CRVAL{k + 1}"] = float(world.wcs.crval[k]) * factor
        cards[f"CDELT{k + 1}"] = float(step[k]) * factor
    for k in range(2):
        for j in range(2):
            element = float(matrix[k, j] / step[k])
            if not np.isclose(element, float(k == j), rtol=0, atol=1e-12):
                cards[f"PC{k + 1}_{j + 1}"] = element
    cards |= {f"PV{k + 1}_{m}": value for axis, m, value in world.wcs.get_pv() for k in range(2) if k + 1 == axis}
    cards |= {key: header[key] for key in _FRAME if key in header}
    return {key: value for key, value in cards.items() if value != ""} | _exact(plain, cards)


def _finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _exact(plain: dict[str, Any], cards: dict[str, Any]) -> dict[str, Any]:
    """The header's own digits, where a change of units and back changed the last of them."""
    close = lambda a, b: _finite(a) and _finite(b) and np.isclose(a, b, rtol=1e-10, atol=0)  # noqa: E731
    return {key: value for key, value in plain.items() if key in cards and close(value, cards[key])}


def _sky_axes(world: Any, x_axis: int | None, y_axis: int | None) -> tuple[int, int] | None:
    """FITS numbers of the axes that become x and y; one that the map lacks is the other coordinate of the sky."""
    sky = (world.wcs.lng + 1, world.wcs.lat + 1) if world.wcs.lng >= 0 and world.wcs.lat >= 0 else ()
    if x_axis is not None and y_axis is not None:
        return (x_axis, y_axis) if {x_axis, y_axis} == set(sky) or not ({x_axis, y_axis} & set(sky)) else None
    present = y_axis if x_axis is None else x_axis
    if present is None or present not in sky:
        return None
    other = sky[1 - sky.index(present)]
    return (other, present) if x_axis is None else (present, other)
