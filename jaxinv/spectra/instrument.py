"""What an instrument does to a spectrum: its spectral point spread function, and macroturbulence, which acts like one.

Both read a spectrum between its samples with a natural cubic spline and integrate that spline, so neither asks for
equal steps. Outside its wavelengths a spectrum keeps its edge value.

    psf = SpectralPSF.gaussian(wavelength, fwhm=0.025)
    model = MilneEddington(lines, psf.model_wavelength) >> psf >> Macroturbulence(wavelength)
"""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxinv.forward import Parameter, Parameters, Stage
from jaxinv.spectra.constants import SPEED_OF_LIGHT

_SPACING = 2.0e-6
"""Default model spacing relative to the wavelength: 0.6 km/s, 12.6 milliangstrom at 6302 angstrom."""

_GROWTH = 0.3
"""Away from what is resolved, a step grows by this fraction of the distance; adds at most 2e-5 of the continuum."""

_GAUSSIAN_REACH = 2.0
"""[FWHM], 4.7 standard deviations: 2.5e-6 of a Gaussian lies beyond."""

_LOWEST_RESOLVING_POWER = 1000.0
"""Below it no line is resolved: the width was given in another unit."""

_FARTHEST = 60.0
"""[km/s], how far beyond the ends macroturbulence looks."""


class SpectralPSF(Stage):
    """Spectra as a spectrograph or filter records them: one matrix from the model's wavelengths to the observed ones.

    I_obs(w) = integral of I(w') P(w - w') dw', P normalized to a unit integral. Build it with `gaussian` or
    `tabulated`, and the atmosphere on `model_wavelength`.

    **The model's wavelengths** contain the observed ones, subdivide their steps to at most `spacing`, and go on beyond
    the ends and into gaps as far as P reaches, from one FWHM on with growing steps. What that costs and brings, as
    the largest error in a Milne-Eddington spectrum (6301 + 6302, fields of 50-3000 G, Doppler widths of 25-50
    milliangstrom) relative to the continuum, against steps of 1 milliangstrom; median and worst of 64 spectra
    (`pytest -rP tests/spectra/test_instrument.py -k docstring`):

    | observed, and P | `spacing` | model wavelengths | median | worst |
    |---|---|---|---|---|
    | Hinode/SP, 112 every 21.5 milliangstrom; its table | the step | 118 | 5e-5 | 1e-3 |
    | | default: half of it | 233 | 2e-6 | 7e-5 |
    | | a third of it | 348 | 4e-7 | 1e-5 |
    | CRISP, 30 in two windows; its table | default | 131 | 9e-7 | 1e-5 |
    | the first, Doppler widths of 15 milliangstrom | default | 233 | 4e-5 | 4e-4 |

    Attributes:
        wavelength: `(n_observed,)` in angstrom.
        model_wavelength: `(n_model,)` in angstrom: where the atmosphere must be synthesized.
        matrix: `(n_model, n_observed)`; each column sums to 1, so that a constant spectrum stays as it is.
        fwhm: full width at half maximum of P [angstrom].
        shift: centroid of P's core (within one FWHM of its peak) [angstrom]; a recorded line is shifted by it.
    """

    wavelength: np.ndarray
    model_wavelength: np.ndarray
    matrix: np.ndarray
    fwhm: float
    shift: float
    upsampling: np.ndarray
    covered: np.ndarray

    def __init__(
        self,
        wavelength: ArrayLike,
        offset: np.ndarray,
        weight: np.ndarray,
        fwhm: float,
        *,
        spacing: float | None = None,
        model_wavelength: ArrayLike | None = None,
    ) -> None:
        """P as `weight` at closely and equally spaced `offset` [angstrom]; `gaussian` and `tabulated` make these."""
        self.wavelength = _increasing("wavelength", wavelength)
        if self.wavelength.mean() < _LOWEST_RESOLVING_POWER * fwhm:
            raise ValueError(
                f"a spectral PSF with a FWHM of {fwhm:.4g} angstrom resolves no line at {self.wavelength.mean():.0f} "
                "angstrom: convert its width or offsets to angstrom (milliangstrom / 1000)"
            )
        if spacing is not None and not (np.isfinite(spacing) and spacing > 0):
            raise ValueError(f"`spacing` must be positive, in angstrom; found {spacing}")
        weight = weight / weight.sum()
        self.fwhm = float(fwhm)
        self.shift = _centroid(offset, weight, fwhm)
        if model_wavelength is None:
            step = _SPACING * float(self.wavelength.mean()) if spacing is None else spacing
            grid = _model_grid(self.wavelength, step, core=self.fwhm, reach=float(np.abs(offset).max()))
        else:
            grid = _increasing("model_wavelength", model_wavelength)
            if grid[0] > self.wavelength[0] or grid[-1] < self.wavelength[-1] or len(grid) < 2:
                raise ValueError(
                    f"`model_wavelength` runs from {grid[0]:.3f} to {grid[-1]:.3f} angstrom and must contain the "
                    f"observed {self.wavelength[0]:.3f} to {self.wavelength[-1]:.3f}: extend it, or leave it out"
                )
        self.model_wavelength = grid
        self.matrix = _integrated_spline(grid, self.wavelength[:, None] - offset, weight).T
        self.upsampling, self.covered = _linear_interpolation(self.wavelength, grid)

    @classmethod
    def gaussian(
        cls,
        wavelength: ArrayLike,
        fwhm: float,
        *,
        spacing: float | None = None,
        model_wavelength: ArrayLike | None = None,
    ) -> SpectralPSF:
        """A Gaussian.

        Args:
            wavelength: `(n_observed,)` in angstrom, increasing, any spacing: one window or several.
            fwhm: full width at half maximum [angstrom].
            spacing: largest step of the model's wavelengths near the observed ones [angstrom]; by default 2e-6 of the
                wavelength (0.6 km/s). See the class for what it costs.
            model_wavelength: `(n_model,)` in angstrom, to be used as they are. `model_wavelength=wavelength` is the
                cheap way: no wavelength is added, and the spectrum keeps its edge values beyond the ends.

        Raises:
            ValueError: `fwhm` is not positive or not in angstrom; wavelengths that are not finite and increasing.
        """
        if not (np.isfinite(fwhm) and fwhm > 0):
            raise ValueError(f"`fwhm` must be positive, in angstrom; found {fwhm} (leave the PSF out for none)")
        n_half = 16 * int(_GAUSSIAN_REACH)
        offset = np.arange(-n_half, n_half + 1) * (fwhm / 16)
        weight = np.exp(-4 * np.log(2) * (offset / fwhm) ** 2)
        return cls(wavelength, offset, weight, fwhm, spacing=spacing, model_wavelength=model_wavelength)

    @classmethod
    def tabulated(
        cls,
        wavelength: ArrayLike,
        offset: ArrayLike,
        transmission: ArrayLike,
        *,
        centre: bool = False,
        spacing: float | None = None,
        model_wavelength: ArrayLike | None = None,
    ) -> SpectralPSF:
        """A measured profile, read between its points with a natural cubic spline; nothing lies beyond its ends.

        Args:
            wavelength: as in `gaussian`.
            offset: `(n,)` distance from a monochromatic line at which its light is recorded [angstrom], in any order.
                For the passband of a filter, transmission against wavelength at a fixed tuning, give minus the
                distance from the tuning.
            transmission: `(n,)`, in any unit; noise around zero in the wings is kept.
            spacing: as in `gaussian`.
            model_wavelength: as in `gaussian`.
            centre: move the profile so that the centroid of its core is at 0. As measured (`False`), `shift` displaces
                the recorded lines, which a wavelength calibration on the lines absorbs.

        Raises:
            ValueError: fewer than 5 points, values that are not finite, an offset that occurs twice, or a profile that
                does not rise from and fall to half of its peak inside the table.
        """
        from scipy.interpolate import CubicSpline

        x, y = np.asarray(offset, np.float64), np.asarray(transmission, np.float64)
        if x.ndim != 1 or x.shape != y.shape or len(x) < 5:
            raise ValueError(
                "a tabulated PSF needs `offset` and `transmission` with the same shape (n,), n >= 5; "
                f"found {x.shape} and {y.shape}"
            )
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
            raise ValueError("a tabulated PSF must be finite: remove the rows with NaN or infinity from the table")
        order = np.argsort(x)
        x, y = x[order], y[order]
        if np.any(np.diff(x) <= 0):
            twice = x[:-1][np.diff(x) <= 0][0]
            raise ValueError(f"the offset {twice:g} angstrom occurs twice in the tabulated PSF: keep one row of each")
        profile = CubicSpline(x, y, bc_type="natural")
        fine = np.linspace(x[0], x[-1], 20 * len(x))
        values = np.asarray(profile(fine))
        peak = int(values.argmax())
        left = np.flatnonzero(values[:peak] < values[peak] / 2)
        right = np.flatnonzero(values[peak:] < values[peak] / 2)
        if values[peak] <= 0 or not (len(left) and len(right)):
            raise ValueError(
                f"the tabulated PSF does not fall to half of its peak (at {fine[peak]:g} angstrom) on both sides "
                f"within its offsets, {x[0]:g} to {x[-1]:g} angstrom: give a table that contains the peak"
            )
        fwhm = float(fine[peak + right[0]] - fine[left[-1]])
        points = np.linspace(x[0], x[-1], int(np.ceil(16 * np.ptp(x) / fwhm)) + 1)
        weight = np.asarray(profile(points))
        if centre:
            points = points - _centroid(points, weight, fwhm)
        return cls(wavelength, points, weight, fwhm, spacing=spacing, model_wavelength=model_wavelength)

    @property
    def smooths(self) -> bool:
        return True

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        """Spectra at the observed wavelengths, `(..., n_observed)`, from those at the model's, `(..., n_model)`."""
        _check_length("the spectral PSF", prediction, len(self.model_wavelength), "psf.model_wavelength")
        return jnp.matmul(prediction, jnp.asarray(self.matrix, prediction.dtype), precision="highest")

    def undo(self, values: Array, valid: Array) -> tuple[Array, Array]:
        """Data interpolated to the model's wavelengths, not sharpened; in gaps and beyond the ends nothing is valid."""
        upsampling = jnp.asarray(self.upsampling, values.dtype)
        missing = jnp.matmul(1 - valid.astype(values.dtype), upsampling, precision="highest")
        covered = jnp.broadcast_to(jnp.asarray(self.covered), missing.shape)
        return jnp.matmul(jnp.where(valid, values, 0), upsampling, precision="highest"), covered & (missing <= 0)


class Macroturbulence(Stage):
    """Unresolved motions along the line of sight: spectra smeared with a Gaussian in velocity.

    Reads `macroturbulence` [km/s], the **standard deviation** s of the velocities: I_obs(x) = integral of I(x - u)
    exp(-u^2 / 2 s^2) / (sqrt(2 pi) s) du, as in SIR (Bellot Rubio 2003, Inversion of Stokes profiles with SIR, sect.
    1.2) and MILOS. NICOLE and others write exp(-u^2 / v^2) and quote v = sqrt(2) s; the FWHM is 2.355 s.

    Smearing with a Gaussian is diffusion for the time s^2 / 2, exp(s^2/2 d^2/dx^2), with x = c ln(wavelength). The
    eigenfunctions of d^2/dx^2 are found once, by Galerkin's method in the natural cubic splines of the grid; then each
    is damped by exp(-k^2 s^2 / 2). So any spacing is right, 0 is exactly the identity, all derivatives are finite, and
    a smear narrower than a pixel still has its effect (a sampled Gaussian has none).

    Place it after a `SpectralPSF` where the observed wavelengths are contiguous (four times cheaper), before it on
    `psf.model_wavelength` where they have gaps, because across a gap the spectrum is only interpolated. Errors against
    a dense convolution (Doppler widths of 25-50 milliangstrom, no PSF, 0.1-4 km/s, the worst of 32 spectra; median in
    brackets): 9e-4 (1e-5) of the continuum at 21.5 milliangstrom, 3e-5 (1e-5) at half of that.

    Args:
        wavelength: `(n_wavelength,)` in angstrom, increasing.

    Raises:
        ValueError: fewer than 3 wavelengths, or not finite and increasing.
    """

    wavelength: np.ndarray
    analysis: np.ndarray
    rate: np.ndarray
    synthesis: np.ndarray

    def __init__(self, wavelength: ArrayLike) -> None:
        self.wavelength = _increasing("wavelength", wavelength)
        n = len(self.wavelength)
        if n < 3:
            raise ValueError(f"macroturbulence needs at least 3 wavelengths; found {n}")
        x = SPEED_OF_LIGHT * np.log(self.wavelength / self.wavelength[0])
        before, after = _growing_steps(x[1] - x[0]), _growing_steps(x[-1] - x[-2])
        nodes = np.concatenate([x[0] - before[::-1], x, x[-1] + after])
        self.rate, modes, mass = _diffusion(nodes)
        inside = slice(len(before), len(before) + n)
        extended = modes.T @ mass
        self.analysis = extended[:, inside].T.copy()
        self.analysis[0] += extended[:, : len(before)].sum(1)
        self.analysis[-1] += extended[:, len(before) + n :].sum(1)
        self.synthesis = modes[inside].T

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"macroturbulence": Parameter("km/s", lowest=0.0)}

    @property
    def smooths(self) -> bool:
        return True

    def __call__(self, parameters: Parameters, prediction: Array) -> Array:
        """Smeared spectra, `(..., n_wavelength)`; reads `macroturbulence` [km/s]."""
        self.need(parameters)
        _check_length("macroturbulence", prediction, len(self.wavelength), "its `wavelength`")
        dtype = prediction.dtype
        variance = jnp.asarray(parameters["macroturbulence"], dtype) ** 2
        amplitude = jnp.matmul(prediction, jnp.asarray(self.analysis, dtype), precision="highest")
        damping = jnp.expm1(variance / 2 * jnp.asarray(self.rate, dtype))
        change = jnp.broadcast_to(damping, amplitude.shape) * amplitude
        return prediction + jnp.matmul(change, jnp.asarray(self.synthesis, dtype), precision="highest")


def _increasing(name: str, wavelength: ArrayLike) -> np.ndarray:
    wavelength = np.array(wavelength, np.float64)
    if wavelength.ndim != 1 or not wavelength.size:
        raise ValueError(f"`{name}` must be an array (n_wavelength,) in angstrom; found the shape {wavelength.shape}")
    if not (np.all(np.isfinite(wavelength)) and np.all(np.diff(wavelength) > 0) and wavelength[0] > 0):
        raise ValueError(f"`{name}` must be finite, positive and strictly increasing, in angstrom: sort or clean it")
    return wavelength


def _centroid(offset: np.ndarray, weight: np.ndarray, fwhm: float) -> float:
    """Of the core only: the noise in the wings of a measured profile would dominate a centroid of all of it."""
    core = np.abs(offset - offset[weight.argmax()]) <= fwhm
    return float(np.average(offset[core], weights=weight[core]))


def _check_length(stage: str, prediction: Array, expected: int, where: str) -> None:
    if prediction.shape[-1] != expected:
        raise ValueError(
            f"{stage} expects spectra at {expected} wavelengths but was given {prediction.shape[-1]}: "
            f"build the model before it on {where}"
        )


def _model_grid(wavelength: np.ndarray, spacing: float, core: float, reach: float) -> np.ndarray:
    """The observed wavelengths and more: steps <= `spacing` up to `core` from the nearest, growing on up to `reach`."""
    ends = np.concatenate([[wavelength[0] - 3 * reach], wavelength, [wavelength[-1] + 3 * reach]])
    pieces = [wavelength]
    for left, right in itertools.pairwise(ends):
        half = (right - left) / 2
        near = min(half, core)
        steps = near / spacing + np.log1p(_GROWTH * (half - near) / spacing) / _GROWTH
        n = max(int(np.ceil(2 * steps - 1e-6)), 1)
        position = np.arange(1, n) * (2 * steps / n)
        count = np.minimum(position, 2 * steps - position)
        beyond = np.maximum(count - near / spacing, 0)
        distance = np.minimum(count * spacing, near) + spacing / _GROWTH * np.expm1(_GROWTH * beyond)
        inside = distance <= reach + spacing
        pieces.append(np.where(position <= steps, left + distance, right - distance)[inside])
    grid = np.concatenate(pieces)
    nearest = np.abs(grid[:, None] - wavelength).min(1)
    return np.unique(grid[nearest <= reach + spacing])


def _integrated_spline(nodes: np.ndarray, points: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`(n_points, n_nodes)`: what to multiply node values with for the weighted sum of their spline over each row.

    `points` is `(n_points, n_quadrature)`, `weight` `(n_quadrature,)`. The spline is natural, constant beyond the ends.
    """
    from scipy.interpolate import CubicSpline

    n = len(nodes)
    if n < 2:
        return np.full((len(points), n), weight.sum())
    points = np.clip(points, nodes[0], nodes[-1])
    left = np.clip(np.searchsorted(nodes, points, side="right") - 1, 0, n - 2)
    step = np.diff(nodes)[left]
    b = (points - nodes[left]) / step
    a = 1 - b
    by_value, by_curvature = np.zeros((2, len(points), n))
    rows = np.broadcast_to(np.arange(len(points))[:, None], left.shape)
    np.add.at(by_value, (rows, left), a * weight)
    np.add.at(by_value, (rows, left + 1), b * weight)
    np.add.at(by_curvature, (rows, left), (a**3 - a) * step**2 / 6 * weight)
    np.add.at(by_curvature, (rows, left + 1), (b**3 - b) * step**2 / 6 * weight)
    if n < 3:
        return by_value
    return by_value + by_curvature @ CubicSpline(nodes, np.eye(n), bc_type="natural")(nodes, 2)


def _linear_interpolation(wavelength: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(n_wavelength, n_points)` weights; and whether neighbouring samples enclose a point: it is in no gap or end."""
    matrix = np.stack([np.interp(points, wavelength, row) for row in np.eye(len(wavelength))])
    if len(wavelength) < 2:
        return matrix, points == wavelength[0]
    step = np.diff(wavelength)
    left = np.clip(np.searchsorted(wavelength, points, side="right") - 1, 0, len(step) - 1)
    inside = (points >= wavelength[0]) & (points <= wavelength[-1])
    return matrix, np.isin(points, wavelength) | (inside & (step[left] <= 3 * np.median(step)))


def _growing_steps(first: float) -> np.ndarray:
    """Distances [km/s] of the nodes that continue a grid beyond an end where its step is `first`."""
    n = int(np.ceil(np.log1p(_GROWTH * _FARTHEST / first) / _GROWTH))
    return first / _GROWTH * np.expm1(_GROWTH * np.arange(1, n + 1))


def _diffusion(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (<= 0) and eigenvectors of d^2/dx^2 with closed ends; the mass matrix that makes them orthonormal.

    Galerkin's method: integral of f' g' and of f g for all pairs of the grid's natural cubic splines, by Gauss-Legendre
    quadrature with 4 points in each interval, which is exact for them.
    """
    from scipy.interpolate import CubicSpline
    from scipy.linalg import eigh

    spline = CubicSpline(nodes, np.eye(len(nodes)), bc_type="natural")
    root, weight = np.polynomial.legendre.leggauss(4)
    step = np.diff(nodes)
    points = (nodes[:-1, None] + step[:, None] * (root + 1) / 2).ravel()
    weight = np.sqrt((step[:, None] * weight / 2).ravel())[:, None]
    value, slope = weight * spline(points), weight * spline(points, 1)
    mass = value.T @ value
    rate, modes = eigh(-slope.T @ slope, mass)
    return np.minimum(rate, 0), modes, mass
