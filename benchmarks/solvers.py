"""Our solvers beside optimistix' and optax' under `vmap`, one start each. `python benchmarks/solvers.py [-n 1024]`.

All minimize the same whitened residuals from the same classical estimate. The others know no bounds, so they work in
coordinates that map to the prior's support: a sigmoid for each bounded parameter.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
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
        print(case)
        runs = {
            "Levenberg-Marquardt, jaxinv": (_ours(problem, ji.LevenbergMarquardt(n_starts=1)), n),
            "Levenberg-Marquardt, optimistix": (_batched(problem, _optimistix), n),
            "L-BFGS, jaxinv": (_ours(problem, ji.LBFGS(n_starts=1)), n // 16),
            "L-BFGS, optax": (_batched(problem, _optax), n // 16),
        }
        for name, (run, count) in runs.items():
            some, limit = data[:count], at_truth[:count]
            chi2 = np.asarray(run(some))
            _, seconds = timed(lambda f=run, d=some: f(d), 1)
            solved, near = (100 * np.mean(chi2 <= limit * (1 + more)) for more in (1e-5, 0.05))
            each = seconds / count * 1e6
            print(f"  {name:34s} {each:8.0f} us per pixel, {solved:.1f} % solved, {near:.1f} % within 5 %", flush=True)


def _ours(problem: ji.Problem, solver: ji.Solver):
    return lambda data: ji.fit(problem, data, solver=solver).chi2


def _optimistix(residual, start: jax.Array) -> jax.Array:
    solver = optx.LevenbergMarquardt(rtol=1e-5, atol=1e-5)
    return optx.least_squares(lambda z, _: residual(z), solver, start, max_steps=150, throw=False).value


def _optax(residual, start: jax.Array) -> jax.Array:
    """Until the cost, in units of the noise, falls by less than our own tolerance in a step."""
    solver = optax.lbfgs()
    cost = lambda z: jnp.sum(residual(z) ** 2)  # noqa: E731
    value_and_grad = optax.value_and_grad_from_state(cost)

    def step(carry):
        z, state, before, _, count = carry
        value, grad = value_and_grad(z, state=state)
        updates, state = solver.update(grad, state, z, value=value, grad=grad, value_fn=cost)
        little = 1e-3 + 1e-6 * jnp.abs(value)
        return optax.apply_updates(z, updates), state, value, (before - value < little) & (count > 0), count + 1

    begin = (start, solver.init(start), jnp.inf, False, 0)
    return jax.lax.while_loop(lambda carry: ~carry[3] & (carry[4] < 200), step, begin)[0]


def _batched(problem: ji.Problem, minimize):
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

        def residual(z: jax.Array) -> jax.Array:
            return problem.residual(constrain(z), data).ravel()

        return jnp.mean(residual(minimize(residual, start)) ** 2)

    return jax.jit(jax.vmap(one))


if __name__ == "__main__":
    main()
