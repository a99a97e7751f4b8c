"""Operators on images beside other codes' figures. `python benchmarks/imaging.py`.

Median, best and worst of repeated calls. The peers' figures were measured on two cores, too, at another time.
"""

from __future__ import annotations

import argparse

import equinox as eqx
import jax
import numpy as np
from common import header, spread

from jaxinv import imaging


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(header())
    lensing()
    tomography()


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


def _line(what: str, function, argument, peers: str) -> None:
    times = np.array(spread(lambda: function(argument), 15)[1:]) * 1e3
    print(f"  {what:50s} {np.median(times):6.1f} ms ({times.min():.1f} to {times.max():.1f})  {peers}", flush=True)


if __name__ == "__main__":
    main()
