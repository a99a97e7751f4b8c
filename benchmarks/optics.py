"""Wavefront to image: PSFs a second, a simulated burst, modes. `python benchmarks/optics.py [psf burst modes]`.

A CPU's cores are used as devices of their own, as `jax.config.update("jax_num_cpu_devices", 2)` makes them.
"""

from __future__ import annotations

import argparse
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import header
from jaxtyping import Array

from jaxinv import optics
from jaxinv.compute.devices import mesh_of, place, spread
from jaxinv.optics.granulation import granulation

BATCH, TOGETHER = 120, 12
PEERS = {
    "PSF": "7750 (dLux)",
    "PSF + OTF": "2874 (torchmfbd); goal 15000",
    "PSF + OTF, gradient": "1511 (torchmfbd), 3971 (dLux, PSF); goal 6000",
}


def model(n_modes: int = 44) -> optics.PointSpread:
    return optics.PointSpread(optics.Telescope(1.0), 8542.0, 0.059, 128, optics.Zernike(n_modes))


def in_turn(function, common, inputs: Array) -> Array:
    return jax.lax.map(lambda one: function(common, one), inputs, batch_size=TOGETHER)


def psf_of(forward: optics.PointSpread, a: Array) -> Array:
    return forward({"wavefront": a})


def both_of(forward: optics.PointSpread, a: Array) -> tuple[Array, Array]:
    psf = forward({"wavefront": a})
    return psf, optics.propagation.transfer_function(psf)


def gradient_of(forward: optics.PointSpread, a: Array) -> tuple[Array, Array]:
    def score(a: Array) -> Array:
        psf, otf = both_of(forward, a)
        return jnp.sum(psf**2) + jnp.sum(jnp.real(otf + 0.1) ** 2 + jnp.imag(otf) ** 2)

    return jax.value_and_grad(score)(a)


def plain_of(forward: optics.PointSpread, a: Array) -> tuple[Array, Array]:
    """What one writes first: the pupil in the middle of the field, a transform of all of it, shifts."""
    m, n = forward.pupil.n_pixels, forward.n_pixels
    phase = jnp.tensordot(a, forward.basis, axes=1)
    field = jnp.zeros((n, n), complex).at[:m, :m].set(forward.amplitude * jnp.exp(1j * phase))
    psf = jnp.fft.fftshift(jnp.abs(jnp.fft.fft2(field)) ** 2)
    psf = psf / jnp.sum(psf)
    return psf, jnp.fft.rfft2(jnp.fft.ifftshift(psf))


def plain_gradient_of(forward: optics.PointSpread, a: Array) -> tuple[Array, Array]:
    def score(a: Array) -> Array:
        psf, otf = plain_of(forward, a)
        return jnp.sum(psf**2) + jnp.sum(jnp.real(otf + 0.1) ** 2 + jnp.imag(otf) ** 2)

    return jax.value_and_grad(score)(a)


# The same functions from call to call: each is compiled once.
JOBS = {
    "PSF": lambda forward, a: in_turn(psf_of, forward, a),
    "PSF + OTF": lambda forward, a: in_turn(both_of, forward, a),
    "PSF + OTF, gradient": lambda forward, a: in_turn(gradient_of, forward, a),
    "PSF + OTF, written plainly": lambda forward, a: jax.vmap(lambda one: plain_of(forward, one))(a),
    "the same, gradient": lambda forward, a: jax.vmap(lambda one: plain_gradient_of(forward, one))(a),
}


def median(job, repeats: int) -> float:
    times = []
    for k in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(job(k))
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def psf(repeats: int) -> None:
    forward = model()
    a = 0.3 * jax.random.normal(jax.random.key(0), (BATCH, 44))
    devices = len(jax.devices())
    print(f"128 x 128 pixels, 44 modes, {BATCH} wavefronts; a second, float32")
    print(f"{'':<30}{'one device':>12}{f'{devices} devices':>12}   peer, goal")
    for name, job in JOBS.items():
        rates = []
        for mesh in (None, mesh_of(devices * BATCH)):
            n = BATCH * (1 if mesh is None else devices)
            run = jax.jit(lambda forward, a, job=job, mesh=mesh: spread(lambda a: job(forward, a), mesh, a))
            given = place(mesh, jnp.tile(a, (n // BATCH, 1)))
            rates.append(n / median(lambda _, run=run, given=given: run(forward, given), repeats))
        print(f"{name:<30}{rates[0]:>12.0f}{rates[1]:>12.0f}   {PEERS.get(name, '')}")


def burst(repeats: int) -> None:
    forward = model(104)
    sky = granulation(jax.random.key(0), (128, 128), 0.059)
    windy = optics.Atmosphere(0.1, 20.0, (optics.Layer(0.0, 0.7, (10.0, 0.0)), optics.Layer(6e3, 0.3, (20.0, 5.0))))
    cases = {
        "one layer, Gaussian noise": {"atmosphere": optics.Atmosphere(0.1), "noise": 5e-3},
        "one layer, photons and read noise": {"atmosphere": optics.Atmosphere(0.1), "noise": optics.Detector(1e4, 5.0)},
        "two layers, frozen flow": {"atmosphere": windy, "interval": 0.03, "noise": 5e-3},
        "two layers, exposures of 10 ms": {"atmosphere": windy, "interval": 0.03, "exposure": 0.01, "noise": 5e-3},
        "two layers, 5 x 5 PSFs over the field": {"atmosphere": windy, "interval": 0.03, "nodes": (5, 5)},
    }
    print("a burst of 12 x 128 x 128 with its truth, ms (goal: 30)")
    for name, case in cases.items():
        t = median(lambda k, case=case: optics.simulate_burst(jax.random.key(k), sky, forward, **case).frames, repeats)
        print(f"{name:<40}{1e3 * t:>8.1f}")


def modes(repeats: int) -> None:
    del repeats
    print("Karhunen-Loeve modes, made for the first time, s")
    for across, count in ((43, 104), (43, 400), (128, 104)):
        for name, telescope in (("disc", optics.Telescope(1.0)), ("annulus", optics.Telescope(1.0, 0.3))):
            telescope = optics.Telescope(telescope.diameter + 1e-6 * across, telescope.obscuration)  # not yet known
            start = time.perf_counter()
            optics.KarhunenLoeve(telescope, count).on(optics.Pupil.across(telescope, across))
            print(f"{count:>4} on {across} x {across} pixels, {name:<10}{time.perf_counter() - start:>8.2f}")


PARTS = {"psf": psf, "burst": burst, "modes": modes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="psf, burst, modes; default: all")
    parser.add_argument("--repeats", type=int, default=20, help="of each timing; the median is printed")
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    print(header())
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.repeats)


if __name__ == "__main__":
    main()
