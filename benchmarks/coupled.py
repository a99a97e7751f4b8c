"""A coupled map, 32 x 32 pixels of nine parameters behind a point-spread function. `python benchmarks/coupled.py`.

`linear` has a closed form: each solver's distance from it, time, and the peak memory of a process that does nothing
else, beside what one dense 9216 x 9216 matrix would take. `spot` is a simulated sunspot with a Milne-Eddington
atmosphere in every pixel, seen blurred: pixel by pixel as if it were not, and as one map.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from common import header, timed

import jaxinv as ji
from jaxinv import spectra
from jaxinv.pipelines import sunspot_parameters

SIDE, SIGMA = 32, 0.05
NAMES = tuple("abcdefghi")
SOLVERS = {
    "LevenbergMarquardt, one pixel": ji.LevenbergMarquardt(),
    "GaussNewtonCG, no covariance": ji.GaussNewtonCG(covariance="none"),
    "GaussNewtonCG, standard errors": ji.GaussNewtonCG(),
    "LBFGS": ji.LBFGS(n_starts=1),
}
FWHM = 2.5


def transfer(width: float) -> np.ndarray:
    """Of a Gaussian point-spread function, standard deviation in pixels."""
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)
    return np.exp(-2 * np.pi**2 * width**2 * (fy**2 + fx**2))


def blur(maps: jax.Array, by: np.ndarray) -> jax.Array:
    """Maps `(..., y, x)`, periodic."""
    return jnp.fft.irfft2(jnp.fft.rfft2(maps) * by[:, : SIDE // 2 + 1], (SIDE, SIDE))


def linear() -> tuple[ji.Problem, np.ndarray, np.ndarray, np.ndarray]:
    """The problem, data, and the exact mean and standard deviation of each parameter."""
    rng = np.random.default_rng(0)
    mixing, deviation, by = np.eye(9) + 0.3 * rng.normal(size=(9, 9)), np.linspace(0.5, 2, 9), transfer(1.2)
    prior = {n: dist.Normal(0.0, d).expand((SIDE, SIDE)) for n, d in zip(NAMES, deviation, strict=True)}

    def model(p: dict[str, jax.Array]) -> jax.Array:
        return blur(jnp.tensordot(jnp.asarray(mixing, jnp.float32), jnp.stack([p[n] for n in NAMES]), 1), by)

    truth = {n: d * rng.normal(size=(SIDE, SIDE)) for n, d in zip(NAMES, deviation, strict=True)}
    data = np.asarray(model(truth)) + SIGMA * rng.normal(size=(9, SIDE, SIDE))
    matrices = by[..., None, None] ** 2 * (mixing.T @ mixing) / SIGMA**2 + np.diag(deviation**-2.0)
    right = by[..., None] * (np.moveaxis(np.fft.fft2(data), 0, -1) @ mixing) / SIGMA**2
    mean = np.fft.ifft2(np.moveaxis(np.linalg.solve(matrices, right[..., None])[..., 0], -1, 0)).real
    error = np.sqrt(np.mean(np.linalg.inv(matrices), axis=(0, 1)).diagonal())
    return ji.Problem(model, ji.noise.Gaussian(SIGMA), prior), data.astype(np.float32), mean, error


def one(name: str) -> None:
    """One solver, in this process."""
    problem, data, mean, error = linear()
    solver, said = SOLVERS[name], ""
    if isinstance(solver, ji.LevenbergMarquardt):  # what a process takes that compiles any fit
        pixel = {n: dist.Normal(0.0, 1.0) for n in NAMES}
        ji.fit(ji.Problem(lambda p: jnp.stack([p[n] for n in NAMES]), ji.noise.Gaussian(SIGMA), pixel), data[:, 0, 0])
    else:
        found = ji.fit(problem, data, solver=solver)
        seconds = timed(lambda: ji.fit(problem, data, solver=solver).chi2, 3)[1]
        off = [np.sqrt(np.mean((found.parameters[n] - mean[k]) ** 2)) / error[k] for k, n in enumerate(NAMES)]
        said = f"{seconds:7.2f} s, {np.max(off):.1e} standard errors from the closed form"
        if np.isfinite(found.standard_error["a"]).all():
            ratio = np.stack([found.standard_error[n] / error[k] for k, n in enumerate(NAMES)])
            said += f", standard errors right to {100 * np.sqrt(np.mean((ratio - 1) ** 2)):.0f} %"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {name:32s} peak {peak:5.0f} MiB {said}", flush=True)


def spot() -> None:
    """Milne-Eddington."""
    wavelength = 6173.334 + np.linspace(-0.45, 0.45, 30)
    model = spectra.MilneEddington(["Fe I 6173.3"], wavelength)
    pixel_prior = spectra.milne_eddington_prior()
    truth = sunspot_parameters((SIDE, SIDE), seed=1)
    by = transfer(FWHM / 2.3548)

    def whole(p: dict[str, jax.Array]) -> jax.Array:
        flat = {name: jnp.reshape(p[name], -1) for name in pixel_prior}
        stokes = jax.vmap(model.__call__)(flat)  # (y x, 4, wavelength)
        blurred = blur(jnp.moveaxis(stokes.reshape(SIDE, SIDE, 4, -1), (0, 1), (-2, -1)), by)
        return jnp.moveaxis(blurred, (-2, -1), (0, 1))

    clean = np.asarray(jax.jit(whole)(truth))
    data = (clean + 1e-3 * np.random.default_rng(0).normal(size=clean.shape)).astype(np.float32)
    problem = ji.Problem(model, ji.noise.Gaussian(1e-3), pixel_prior)
    coupled = ji.Problem(whole, ji.noise.Gaussian(1e-3), {n: d.expand((SIDE, SIDE)) for n, d in pixel_prior.items()})
    pixels = ji.fit(problem, data)
    solver = ji.GaussNewtonCG(covariance="none", max_iterations=40)
    together = ji.fit(coupled, data, initial=pixels.parameters, solver=solver)
    seconds = timed(lambda: ji.fit(coupled, data, initial=pixels.parameters, solver=solver).chi2, 1)[1]

    def errors(found: ji.Solution) -> str:
        def los(p: dict[str, np.ndarray]) -> np.ndarray:
            return p["field_strength"] * np.cos(p["inclination"])

        b = np.sqrt(np.mean((los(found.parameters) - los(truth)) ** 2))
        v = np.sqrt(np.mean((found.parameters["velocity"] - truth["velocity"]) ** 2))
        return f"rms error of B cos(gamma) {b:6.1f} G, of the velocity {1e3 * v:6.1f} m/s"

    print(f"  pixel by pixel   chi2 {np.median(pixels.chi2):6.2f} (median), {errors(pixels)}")
    print(f"  as one map       chi2 {float(together.chi2):6.2f}, {errors(together)}; {int(together.iterations)} steps, "
          f"{seconds:.0f} s, {ji.Status(int(together.status)).name}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=tuple(SOLVERS), help=argparse.SUPPRESS)
    only = parser.parse_args().only
    if only:
        one(only)
        return
    print(header())
    print(f"linear: 9216 unknowns; a dense matrix of them takes {4 * 9216**2 / 2**20:.0f} MiB", flush=True)
    for name in SOLVERS:
        subprocess.run([sys.executable, __file__, "--only", name], check=True)
    print(f"spot: {FWHM} pixels wide point-spread function, 9 x 1024 Milne-Eddington parameters")
    spot()


if __name__ == "__main__":
    main()
