"""`unroll`: train a network that takes part in a solver's steps, on data that a problem simulates."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxinv.optimize.fit import default_solver
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Steerable
from jaxinv.problem import Problem
from jaxinv.training.data import Conditions, Example, simulated
from jaxinv.training.loop import Keeper, train
from jaxinv.training.settings import Training
from jaxinv.unrolling.loop import Loop, run
from jaxinv.unrolling.settings import LearnedSteps
from jaxinv.unrolling.unrolled import Start, Unrolled, start_of


def unroll(
    problem: Problem,
    method: LearnedSteps | None = None,
    training: Training | None = None,
    *,
    key: PRNGKeyArray,
    solver: Steerable | None = None,
    start: Start | None = None,
    conditions: Conditions | None = None,
    keeper: Keeper | None = None,
    progress: bool = True,
) -> Unrolled:
    """Train a loop of a few steps that ends where the converged solver would.

    The loss is the logarithm of the misfit after every step, above that of the truth.

    Args:
        problem: forward model (the exact one, or a surrogate), noise and prior.
        method: what the network decides, and for how many steps.
        training: settings of the training.
        key: of all that is drawn.
        solver: whose steps they are; Levenberg-Marquardt by default.
        start: a network of `amortize`, from whose answers the loop starts; the forward model's estimates where `None`.
        conditions: the range of noise levels and of what is known of each object.
        keeper: keeps the state of the training, so that it can be gone on with.
        progress: show a bar with the loss, the rate and the time left.

    Returns:
        The loop, to be called as `unrolled(problem, data)`.

    Raises:
        ValueError: a setting out of its range, conditions that the problem does not know, or a solver whose steps no
            network can take part in.
        TrainingError: the loss became infinite or NaN.
    """
    method, conditions = method or LearnedSteps(), conditions or Conditions()
    training = training or Training(steps=1500, batch_size=256, learning_rate=2e-3, average=0.01)
    conditions.check(problem)
    problem = problem.given(conditions.known)
    chosen = default_solver(problem) if solver is None else solver
    if not isinstance(chosen, Steerable):
        raise ValueError(
            f"a network cannot take part in the steps of {type(chosen).__name__}: it takes a Steerable solver, such as "
            "LevenbergMarquardt"
        )
    solver = chosen
    network_key, train_key = jax.random.split(key)
    loop = Loop.new(method, n_signals(problem, solver, conditions), problem.coordinates.size, network_key)

    def draw(context: Any, key: PRNGKeyArray) -> Example:
        return simulated(context[0], conditions, key)

    def loss(network: Any, context: Any, examples: Example) -> tuple[Array, dict[str, Array]]:
        own = eqx.tree_at(lambda x: x.network, loop, network)
        problem, start = context
        each = jax.vmap(lambda example: _loss(own, solver, problem, start, example))(examples)
        terms = {f"step_{k}": jnp.mean(each[:, k]) for k in range(method.steps)}
        return jnp.mean(each), jax.lax.stop_gradient(terms)

    trained = train(
        loop.network, loss, draw, (problem, start), training, key=train_key, keeper=keeper, progress=progress,
        label="unrolling",
    )  # fmt: skip
    loop = eqx.tree_at(lambda x: x.network, loop, trained.network)
    return Unrolled(loop, solver, start, problem.names, trained.curve, trained.best_step)


def n_signals(problem: Problem, solver: Steerable, conditions: Conditions) -> int:
    """How many numbers the solver tells a network."""

    def one(key: PRNGKeyArray) -> Array:
        example = simulated(problem, conditions, key)
        objective = Objective(problem, example.observed, example.known)
        state = solver.init(objective, start_of(None, problem, example.observed, example.known))
        return solver.signals(objective, state)

    return jax.eval_shape(one, jax.random.key(0)).shape[0]


def _loss(loop: Loop, solver: Steerable, problem: Problem, start: Any, example: Example) -> Array:
    """`(steps,)` the logarithm of the misfit above the truth's after each step."""
    objective = Objective(problem, example.observed, example.known)
    vector = jax.lax.stop_gradient(start_of(start, problem, example.observed, example.known))
    trace = run(loop, solver, objective, vector, loop.settings.steps)
    best = objective.cost(objective.coordinates.vector(example.parameters))
    n_free = sum(problem.layout.sizes)
    # A converged fit lies below the truth by one for each parameter.
    excess = (trace.costs[1:] - jax.lax.stop_gradient(best)) / n_free + 1
    # A look that found nothing finite counts as a very bad one, without a gradient.
    excess = jnp.where(jnp.isfinite(excess), excess, 1e6)
    return jnp.log1p(jnp.maximum(excess, 0))
