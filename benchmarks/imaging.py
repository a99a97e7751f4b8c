"""Images beside other codes' figures. `python benchmarks/imaging.py [lensing|tomography|deblurring|posterior]`.

Median, best and worst of repeated calls. The peers' figures were measured on two cores, too, at another time.
"""

from __future__ import annotations

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common import header, spread

import jaxinv as ji
from jaxinv import imaging


def main() -> None:
    parts = {one.__name__: one for one in (lensing, tomography, deblurring, posterior)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*parts, []])
    chosen = parser.parse_args().parts or parts
    print(header())
    for name in chosen:
        parts[name]()


def lensing() -> None:
    """The shear of a convergence, and back."""
    shear = imaging.KaiserSquires((1024, 1024))
    image = jax.random.normal(jax.random.key(0), (1024, 1024))
    data = shear(image)
    _line("Kaiser-Squires 1024 x 1024, convergence to shear", eqx.filter_jit(shear.apply), image, "")
    inverse = jax.jit(lambda data: shear.convergence(data)[0])
    _line("Kaiser-Squires 1024 x 1024, shear to convergence", inverse, data, "lenspack 155; goal 10")


def tomography() -> None:
    """Projections of 512 x 512 pixels at 180 angles, their adjoint, and filtered back-projection."""
    radon = imaging.Radon(512, np.arange(180.0))
    image = imaging.shepp_logan(512)
    sinogram = eqx.filter_jit(radon.apply)(image)
    _line("Radon 512 x 180, forward", eqx.filter_jit(radon.apply), image, "scico 704, deepinv 528")
    _line(
        "Radon 512 x 180, adjoint",
        eqx.filter_jit(radon.adjoint),
        sinogram,
        "scico 722, deepinv 1871; goal 500 with forward",
    )
    _line("Radon 512 x 180, filtered back-projection", eqx.filter_jit(radon.filtered_back_projection), sinogram, "")
    for n_angles in (180, 360, 720):
        some = imaging.Radon(512, np.arange(n_angles) * 180 / n_angles)
        found = some.filtered_back_projection(some(image))
        error = float(np.sqrt(np.mean((np.asarray(found) - image) ** 2)))
        print(f"  Shepp-Logan by filtered back-projection, {n_angles} angles: {-20 * np.log10(error):.1f} dB")


def deblurring() -> None:
    """Total variation by ADMM, 512 x 512: the same problem with 20 and with 120 steps, so that only steps count."""
    n, sigma = 512, 0.02
    y, x = np.mgrid[-4:5, -4:5]
    kernel = np.exp(-(x**2 + y**2) / 4.5)
    blur = imaging.Convolution(kernel / kernel.sum(), (n, n))
    truth = imaging.shepp_logan(n)
    data = np.asarray(blur(truth)) + np.random.default_rng(0).normal(0, sigma, (n, n)).astype(np.float32)
    problem = ji.Problem(blur, ji.noise.Gaussian(sigma), {"image": imaging.TotalVariation((n, n), 16.0)})

    def seconds(steps: int) -> float:
        solver = ji.ADMM(max_iterations=steps, tolerance=0.0)
        return float(np.median(spread(lambda: ji.fit(problem, data, solver=solver).parameters["image"], 5)[1:]))

    each = (seconds(120) - seconds(20)) / 100
    pair = eqx.filter_jit(lambda x: jnp.fft.irfft2(jnp.fft.rfft2(x), s=x.shape))
    _line("a Fourier transform and its inverse, 512 x 512", pair, jnp.asarray(data), "")
    print(f"  a step of ADMM, total variation, 512 x 512: {1e3 * each:.1f} ms  scico 32.1, deepinv 71; goal 5")
    for name, solver in {"ADMM": ji.ADMM(), "FISTA": ji.FISTA(), "PDHG": ji.PDHG()}.items():
        first, second = spread(lambda s=solver: ji.fit(problem, data, solver=s).parameters["image"], 1)
        found = ji.fit(problem, data, solver=solver)
        image = found.parameters["image"]
        cost = float(found.chi2) * n * n / 2 - float(problem.prior["image"].log_prob(jnp.asarray(image)))
        error = float(np.sqrt(np.mean((image - truth) ** 2)))
        print(
            f"  {name:5s} {int(found.iterations):5d} steps in {second:.1f} s (the first time {first:.1f} s), "
            f"cost {cost:.1f}, error {error:.5f}, {ji.Status(int(found.status)).name.lower()}",
            flush=True,
        )


def posterior() -> None:
    """A mass map with holes: the draws' standard deviations beside the exact ones, and how often they hold truth."""
    for n, n_draws in ((64, 4000), (256, 300)):
        shear = imaging.KaiserSquires((n, n))
        prior = imaging.PowerSpectrum((n, n), lambda f: 0.02 * (1 + (f / 0.03) ** 2) ** -1.5 + 1e-6)
        problem = ji.Problem(shear, ji.noise.Gaussian(0.15), {"image": prior})
        truth, data = problem.simulate(jax.random.key(0))
        mask = np.random.default_rng(0).uniform(size=(n, n)) > 0.1
        mask[n // 4 : n // 2, n // 3 : n // 2] = False
        observed = ji.Observation(np.where(mask, data, np.nan))
        method = ji.PerturbAndOptimize(n_draws=n_draws)
        first, second = spread(
            lambda p=problem, o=observed, m=method: ji.draw(p, o, key=jax.random.key(1), method=m).draws["image"], 1
        )
        found = ji.draw(problem, observed, key=jax.random.key(1), method=method)
        deviation = found.standard_deviation()["image"]
        off = np.abs(np.asarray(truth["image"]) - found.draws["image"].mean((0, 1)))
        print(
            f"  posterior of a mass map, {n} x {n}, {n_draws} draws: {second:.1f} s (the first time {first:.1f} s), "
            f"95 % intervals hold {100 * np.mean(off < 1.96 * deviation):.1f} %",
            flush=True,
        )
        if n > 64:
            continue
        units = np.eye(n * n).reshape(n * n, n, n)
        matrix = np.asarray(jax.jit(jax.vmap(shear))(units)).reshape(n * n, -1).astype(float)
        covariance = np.fft.irfft2(np.fft.rfft2(units) * np.asarray(prior.power), s=(n, n)).reshape(n * n, n * n)
        weights = np.broadcast_to(mask, (2, n, n)).ravel() / 0.15**2
        exact = np.sqrt(np.diag(np.linalg.inv((matrix * weights) @ matrix.T + np.linalg.inv(covariance))))
        ratio = deviation.ravel() / exact
        print(f"    standard deviations in units of the exact ones: {ratio.mean():.4f} +- {ratio.std():.4f} (goal 2 %)")


def _line(what: str, function, argument, peers: str) -> None:
    times = np.array(spread(lambda: function(argument), 15)[1:]) * 1e3
    print(f"  {what:50s} {np.median(times):6.1f} ms ({times.min():.1f} to {times.max():.1f})  {peers}", flush=True)


if __name__ == "__main__":
    main()
