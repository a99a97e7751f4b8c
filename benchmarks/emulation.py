"""What a surrogate of a forward model is worth. `python benchmarks/emulation.py [smooth] [slow]`.

smooth: an absorption line of three parameters, with its derivatives, in JAX. slow: a chromospheric cloud in motion,
its transfer equation integrated adaptively by SciPy, wavelength by wavelength, without derivatives. Fits and posteriors
through its surrogate are held against those of the same equation in JAX.
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from common import header
from jaxtyping import Array
from scipy.integrate import solve_ivp

import jaxinv as ji
from jaxinv import priors
from jaxinv.forward import Parameter, Parameters
from jaxinv.sampling import draw

X = np.linspace(-3, 3, 60)
LINE = {"depth": dist.Uniform(0.1, 3.0), "width": dist.Uniform(0.5, 2.0), "shift": dist.Uniform(-1.0, 1.0)}

OFFSET = np.linspace(-1.5, 1.5, 100)
"""From the line's centre at 6562.8 angstrom [angstrom]."""
BEHIND = 1 - 0.8 * np.exp(-((OFFSET / 0.6) ** 2))
"""What shines through the cloud, in units of the continuum."""
PER_KM_S, WIDTH = 6562.8 / 299792.458, 0.35
CLOUD = {
    "optical_depth": dist.Uniform(0.3, 3.0),
    "velocity": dist.Uniform(-20.0, 20.0),
    "velocity_gradient": dist.Uniform(0.0, 20.0),
    "source": dist.Uniform(0.05, 0.4),
}
SIGMA = 0.01


def line(p: Parameters) -> Array:
    """An absorption line, `(60,)`."""
    return jnp.exp(-p["depth"] * jnp.exp(-(((X - p["shift"]) / p["width"]) ** 2)))


class Cloud(ji.Forward):
    """dI/dt = chi(t) (S(t) - I) through a cloud, t from 0 behind to 1 before it; its speed and S change with t.

    Beckers' cloud (1964, thesis, Utrecht) has constant ones, and a closed form.
    """

    steps: int = 32

    @property
    def parameters(self) -> dict[str, Parameter]:
        units = {"optical_depth": "", "velocity": "km/s", "velocity_gradient": "km/s", "source": ""}
        return {name: Parameter(unit) for name, unit in units.items()}

    def __call__(self, parameters: Parameters) -> Array:
        p, h = parameters, 1 / self.steps

        def step(i: Array, t: Array) -> tuple[Array, None]:
            a = slope(i, t, p, OFFSET, jnp)
            b = slope(i + h / 2 * a, t + h / 2, p, OFFSET, jnp)
            c = slope(i + h / 2 * b, t + h / 2, p, OFFSET, jnp)
            d = slope(i + h * c, t + h, p, OFFSET, jnp)
            return i + h / 6 * (a + 2 * b + 2 * c + d), None

        return jax.lax.scan(step, jnp.asarray(BEHIND, jnp.float32), jnp.arange(self.steps) * h)[0]


def slope(i, t, p, offset, xp):
    """Of the intensity, along the ray."""
    speed = p["velocity"] + p["velocity_gradient"] * (t - 0.5)
    chi = p["optical_depth"] * xp.exp(-(((offset - speed * PER_KM_S) / WIDTH) ** 2))
    return chi * (p["source"] * (1 + (t - 0.5)) - i)


class SlowCloud(Cloud):
    """The same by SciPy, outside JAX."""

    def __call__(self, parameters: Parameters) -> Array:
        shape = jax.ShapeDtypeStruct(OFFSET.shape, jnp.float32)
        return jax.pure_callback(integrated, shape, dict(parameters), vmap_method="sequential")


def integrated(parameters: dict[str, np.ndarray]) -> np.ndarray:
    p = {name: float(value) for name, value in parameters.items()}
    out = [
        solve_ivp(lambda t, i, o=o: slope(i, t, p, o, np), (0, 1), [b], rtol=1e-10, atol=1e-10).y[0, -1]
        for o, b in zip(OFFSET, BEHIND, strict=True)
    ]
    return np.asarray(out, np.float32)


def smooth() -> None:
    training = ji.Training(optimizer="muon", steps=6000, batch_size=256, learning_rate=2e-2, evaluate=500)
    method = ji.Emulator(settings={"width": 64, "depth": 2})
    begin = time.perf_counter()
    found = ji.emulate(line, LINE, method, training, key=jax.random.key(0))
    seconds = time.perf_counter() - begin
    report = found.report
    assert report is not None
    values = np.asarray(jax.vmap(line)(priors.sample(LINE, jax.random.key(1), (4096,))))
    share = report.percentile_99[0] / np.ptp(values)
    print(report)
    print(
        f"smooth, 3 parameters: {seconds:.0f} s; 99th percentile {share:.1e} of the range (goal 1e-2), derivatives "
        f"{100 * max(value for _, value in report.jacobian):.2f} % rms at most (goal 5 %)"
    )


def slow(n: int = 256) -> None:
    model, exact = SlowCloud(), ji.Problem(Cloud(), ji.noise.Gaussian(SIGMA), CLOUD)
    truth, data = exact.simulate(jax.random.key(3), (n,))
    begin = time.perf_counter()
    calls = [model({name: x[k] for name, x in truth.items()}) for k in range(20)]
    call = (time.perf_counter() - begin) / 20
    off = np.abs(np.stack(calls) - np.asarray(jax.vmap(Cloud())({name: x[:20] for name, x in truth.items()}))).max()
    print(f"slow: {1e3 * call:.0f} ms a call; the same equation in JAX differs by {off:.1e} at most")
    method = ji.Emulator(settings={"width": 64, "depth": 2}, jacobian=0.0, examples=2000, n_report=500)
    training = ji.Training(optimizer="muon", steps=9000, batch_size=256, learning_rate=2e-2, evaluate=500)
    begin = time.perf_counter()
    found = ji.emulate(model, CLOUD, method, training, key=jax.random.key(0))
    trained = time.perf_counter() - begin
    print(found.report)
    quick = ji.Problem(found, ji.noise.Gaussian(SIGMA), CLOUD)
    fits, posteriors, seconds = [], [], []
    for problem in (exact, quick):
        fits.append(ji.fit(problem, data))
        begin = time.perf_counter()
        posteriors.append(draw(problem, data, method=ji.Importance(), key=jax.random.key(1), initial=fits[-1]))
        seconds.append(time.perf_counter() - begin)
    half = {name: (posteriors[0].quantile(0.84)[name] - posteriors[0].quantile(0.16)[name]) / 2 for name in CLOUD}
    medians = [p.quantile(0.5) for p in posteriors]
    both = np.all([p.status == ji.PosteriorStatus.CONVERGED for p in posteriors], axis=0)
    print(f"  within 0.2 posterior sigma of the exact model's answer, {n} objects, noise {SIGMA} (goal 95 %)")
    print("                        a fit   posterior medians   widths within 10 %")
    for name in CLOUD:
        wide = (posteriors[1].quantile(0.84)[name] - posteriors[1].quantile(0.16)[name]) / 2 / half[name]
        shares = (
            np.abs(fits[0].parameters[name] - fits[1].parameters[name]) / half[name] < 0.2,
            (np.abs(medians[0][name] - medians[1][name]) / half[name] < 0.2)[both],
            (np.abs(wide - 1) < 0.1)[both],
        )
        print(f"    {name:<18}" + "".join(f"{100 * np.mean(share):>12.1f} %" for share in shares))
    evaluations = 5 * np.mean(fits[0].iterations)  # with one for each derivative
    print(
        f"  trained in {trained:.0f} s with its calls; then {1e3 * seconds[1] / n:.1f} ms for a posterior, weights "
        f"pass in {100 * np.mean(both):.0f} %; the model itself would take {evaluations * call:.1f} s for a fit "
        f"({evaluations:.0f} calls) and {4000 * call:.0f} s for 4000 weighed draws of each object"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], "smooth", "slow"], default=[])
    parts = parser.parse_args().part or ["smooth", "slow"]
    print(header())
    for part in parts:
        {"smooth": smooth, "slow": slow}[part]()


if __name__ == "__main__":
    main()
