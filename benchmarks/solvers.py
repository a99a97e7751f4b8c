"""Our Levenberg-Marquardt beside optimistix' under `vmap`, one start each. `python benchmarks/solvers.py [-n 1024]`.

Both minimize the same whitened residuals from the same classical estimate. Optimistix knows no bounds, so it works in
coordinates that map to the prior's support: a sigmoid for each bounded parameter.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from common import CASES, header, peer, simulated, timed

import jaxinv as ji

optx = peer("optimistix")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1024, help="simulated pixels")
    n = parser.parse_args().n
    print(header())
    for case in CASES:
        problem, _, data, at_truth = simulated(case, n)
        solver = ji.LevenbergMarquardt(n_starts=1)
        chi2 = ji.fit(problem, data, solver=solver).chi2
        _, ours = timed(lambda p=problem, d=data, s=solver: ji.fit(p, d, solver=s).chi2, 3)
        print(case)
        solved = 100 * np.mean(chi2 <= at_truth * (1 + 1e-5))
        print(f"  jaxinv       {ours / n * 1e6:8.0f} us per pixel, {solved:.1f} % solved")
        theirs = _optimistix(problem)
        chi2 = np.asarray(theirs(data))
        _, seconds = timed(lambda f=theirs, d=data: f(d), 1)
        solved = 100 * np.mean(chi2 <= at_truth * (1 + 1e-5))
        print(f"  optimistix   {seconds / n * 1e6:8.0f} us per pixel, {solved:.1f} % solved")


def _optimistix(problem: ji.Problem):
    solver = optx.LevenbergMarquardt(rtol=1e-5, atol=1e-5)
    names = problem.names
    support = {name: ji.priors.bounds(problem.prior[name]) for name in names}

    def constrain(z: jax.Array) -> dict[str, jax.Array]:
        return {
            k: low + (high - low) * jax.nn.sigmoid(x) for x, (k, (low, high)) in zip(z, support.items(), strict=True)
        }

    def one(data: jax.Array) -> jax.Array:
        guess = {name: value[0] for name, value in problem.guess(data).items()}
        share = [(guess[k] - low) / (high - low) for k, (low, high) in support.items()]
        start = jax.scipy.special.logit(jnp.clip(jnp.stack(share), 1e-3, 1 - 1e-3))

        def residual(z: jax.Array, _: None) -> jax.Array:
            return problem.residual(constrain(z), data).ravel()

        found = optx.least_squares(residual, solver, start, max_steps=150, throw=False)
        return jnp.mean(residual(found.value, None) ** 2)

    return jax.jit(jax.vmap(one))


if __name__ == "__main__":
    main()
