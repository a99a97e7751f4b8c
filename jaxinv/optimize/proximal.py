"""Proximal methods: what has a kink or a bound is met by its proximal operator, not by its gradient.

Each method is one map of a point (`move`); its fixed point is the answer. Everything else - stopping, Nesterov's
momentum, unrolling, the derivative of the answer - is the engine's (`fixed_point`) and the same for all.
"""

from __future__ import annotations

import abc
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxinv import priors
from jaxinv.linearization import Linear
from jaxinv.noise import Samplewise
from jaxinv.optimize import fixed_point
from jaxinv.optimize.objective import Objective
from jaxinv.optimize.solver import Answer, Solver
from jaxinv.problem import Problem
from jaxinv.regularizers import Regularizer, Term

_SAFE = 1.02
"""On norms that come from power iteration, which never ends above the true one."""
_POWER = 30
"""Products for the curvature of a nonlinear model at the start."""
_HALVINGS = 30
_SHORTER = 0.3
"""Than the image itself: a primal step, in units of the dual one, that did well in deblurring and tomography."""


class _State(NamedTuple):
    setup: Any
    point: Any
    ahead: Any  # where the map is applied: the point, and momentum
    pace: Array
    aside: Any
    change: Array


class Proximal(Solver):
    """A method of one map: `setup` once, `start`, then `move` until it changes nothing.

    Attributes:
        tolerance: it has converged when a step changes no array of the point by more than this fraction of its size.
        max_iterations: see `Solver`, as for the rest. One start is taken, and objects one after another.
    """

    max_iterations: int = 2000
    n_starts: int = eqx.field(static=True, default=1)
    covariance: str = eqx.field(static=True, default="none")
    tolerance: float = 1e-4

    @property
    def momentum(self) -> bool:
        """Whether steps are extrapolated (Nesterov 1983), anew where that goes astray.

        O'Donoghue & Candes 2015, Found. Comput. Math. 15, 715.
        """
        return False

    @abc.abstractmethod
    def check(self, problem: Problem) -> None:
        """Whether the method suits a problem.

        Raises:
            ValueError: it does not.
        """

    @abc.abstractmethod
    def setup(self, objective: Objective) -> Any:
        """What is computed once for an object."""

    @abc.abstractmethod
    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        """The first point, and what the map keeps aside that has no derivative (a step length, a counter)."""

    @abc.abstractmethod
    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        """The map."""

    @abc.abstractmethod
    def parameters(self, point: Any) -> dict[str, Array]:
        """What is inferred, at a point."""

    def final(self, aside: Any) -> Any:
        """What is kept aside as it is at the fixed point."""
        return aside

    def change(self, gone: Any, new: Any) -> Array:
        """How far a step went, as a fraction: the largest of any array of the point, unless the method knows better."""
        return fixed_point.relative(gone, new)

    def init(self, objective: Objective, vector: Array) -> _State:
        setup = self.setup(objective)
        point, aside = self.start(objective, setup, objective.coordinates.parameters(vector))
        infinite = jnp.asarray(jnp.inf, vector.dtype)
        return _State(setup, point, point, jnp.ones((), vector.dtype), aside, infinite)

    def step(self, objective: Objective, state: _State) -> _State:
        new, aside = self.move(objective, state.setup, state.ahead, state.aside)
        gone = jax.tree.map(jnp.subtract, new, state.point)
        change = self.change(gone, new)
        if not self.momentum:
            return _State(state.setup, new, new, state.pace, aside, change)
        back = jax.tree.map(lambda a, b, c: jnp.sum((a - b) * c), state.ahead, new, gone)
        astray = sum(jax.tree.leaves(back)) > 0
        pace = jnp.where(astray, 1, state.pace)
        following = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
        ahead = jax.tree.map(lambda x, g: x + (pace - 1) / following * g, new, gone)
        return _State(state.setup, new, ahead, following, aside, change)

    def done(self, state: _State) -> Array:
        return state.change <= self.tolerance

    def lost(self, objective: Objective, state: Any) -> Array:
        return jnp.isnan(state.change)

    def answer(self, objective: Objective, state: _State) -> Answer:
        vector = objective.coordinates.project(objective.coordinates.vector(self.parameters(state.point)))
        cost = jnp.where(jnp.isnan(state.change), jnp.nan, objective.cost(vector))
        return Answer(vector, vector, cost, None)

    def differentiable(self, objective: Objective, state: _State) -> Array:
        """The answer in coordinates, as a differentiable function of the objective.

        Args:
            objective: by which it is differentiated.
            state: at the fixed point.
        """
        aside = jax.lax.stop_gradient(self.final(state.aside))
        setup = self.setup(objective)
        point = fixed_point.implicit(
            lambda point: self.move(objective, setup, point, aside)[0],
            state.point,
            tolerance=1e-6 if state.change.dtype == jnp.float32 else 1e-10,
            most=20 * 1000,
        )
        return objective.coordinates.vector(self.parameters(point))


class ISTA(Proximal):
    """A gradient step of the misfit, then the prox of the prior: proximal gradients, iterative shrinkage.

    Beck & Teboulle (2009, SIAM J. Imaging Sci. 2, 183). For any forward model and noise. Where the model is linear and
    the noise Gaussian the step is the inverse of the largest curvature; else it is that at the start, and halved for
    good where the misfit does not fall as it should. What has a distribution without a prox counts with its gradient,
    within its bounds.

    Attributes:
        tolerance: see `Proximal`, as for the rest.
    """

    def check(self, problem: Problem) -> None:
        del problem

    def setup(self, objective: Objective) -> None:
        return None

    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        """With the step aside: the inverse of the largest curvature of half the misfit, there or everywhere."""
        linear = _linear(objective)
        if linear is not None:
            weights = objective.problem.samplewise.weights(linear.prediction, objective.data)
            largest = (_SAFE * linear.norm()) ** 2 * jnp.max(weights)
        else:
            signs = {k: jax.random.rademacher(jax.random.key(0), v.shape, v.dtype) for k, v in parameters.items()}
            push = jax.linearize(jax.grad(lambda p: self._smooth(objective, p)), parameters)[1]

            def turn(_: int, carry: tuple[Any, Array]) -> tuple[Any, Array]:
                x = push(carry[0])
                size = jnp.sqrt(sum((jnp.sum(part**2) for part in jax.tree.leaves(x)), jnp.zeros(())))
                return jax.tree.map(lambda part: part / jnp.where(size > 0, size, 1), x), size

            largest = jax.lax.fori_loop(0, _POWER, turn, (signs, jnp.ones(())))[1]
        step = jax.lax.stop_gradient(1 / jnp.where(largest > 0, largest, 1))
        return parameters, step

    def _smooth(self, objective: Objective, parameters: dict[str, Array]) -> Array:
        """Half the misfit, and minus the log density of what has no prox."""
        problem = objective.problem
        total = objective.misfit(problem.predict({**objective.known, **parameters})) / 2
        for name in problem.names:
            if not isinstance(problem.prior[name], Regularizer):
                total = total - jnp.sum(problem.prior[name].log_prob(parameters[name]))
        return total

    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        value, slope = jax.value_and_grad(lambda p: self._smooth(objective, p))(point)

        def stepped(step: Array) -> dict[str, Array]:
            down = jax.tree.map(lambda x, g: x - step * g, point, slope)
            found = priors.project(objective.problem.prior, down)
            for name in down:
                prior = objective.problem.prior[name]
                if isinstance(prior, Regularizer):
                    found[name] = prior.prox(down[name], step)
            return {name: found[name] for name in down}

        if _linear(objective) is not None:
            return stepped(aside), aside

        def above(step: Array) -> Array:
            gone = jax.tree.map(jnp.subtract, stepped(step), point)
            along = sum(jnp.sum(g * s) for g, s in zip(jax.tree.leaves(gone), jax.tree.leaves(slope)))
            square = sum(jnp.sum(g**2) for g in jax.tree.leaves(gone))
            allowed = value + along + square / (2 * step) + 10 * jnp.finfo(value.dtype).eps * jnp.abs(value)
            return ~(self._smooth(objective, stepped(step)) <= allowed)

        step = jax.lax.while_loop(
            lambda carry: (carry[1] < _HALVINGS) & above(carry[0]),
            lambda carry: (carry[0] / 2, carry[1] + 1),
            (jax.lax.stop_gradient(aside), jnp.zeros((), jnp.int32)),
        )[0]
        return stepped(step), step

    def parameters(self, point: Any) -> dict[str, Array]:
        return point


class FISTA(ISTA):
    """`ISTA` with Nesterov's momentum: the same answer in far fewer steps.

    Attributes:
        tolerance: see `ISTA`, as for the rest.
    """

    @property
    def momentum(self) -> bool:
        return True


class ISRA(Proximal):
    """Multiplicative updates, which keep an image positive: x * A^T (w d) / A^T (w A x), w = 1 / variance.

    For Gaussian noise the image space reconstruction algorithm (Daube-Witherspoon & Muehllehner 1986, IEEE Trans. Med.
    Imag. 5, 61), for Poisson noise Richardson (1972) and Lucy (1974). The forward model is linear, without negative
    weights. The limit is the most likely positive image, which amplifies noise: stop early (`max_iterations`).

    Attributes:
        tolerance: see `Proximal`, as for the rest.
    """

    max_iterations: int = 100

    def check(self, problem: Problem) -> None:
        name, terms = check_image(problem, "ISRA")
        if not (is_linear(problem) and _weighted(problem)):
            raise ValueError("ISRA needs a linear operator, and Gaussian or Poisson noise: take solver=FISTA()")
        if any(term.bounds != (0.0, math.inf) for term in terms):
            raise ValueError(f"ISRA knows no prior but positivity: give {name!r} imaging.Positivity, or take ADMM()")

    def setup(self, objective: Objective) -> None:
        return None

    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        return {name: jnp.where(jnp.any(x > 0), jnp.maximum(x, 0), 1) for name, x in parameters.items()}, ()

    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        found = linear_at(objective, point)
        weights = objective.problem.samplewise.weights(found.prediction, objective.data)
        values, valid = _values(objective, found.prediction)
        above, below = (found.vjp(weights * x) for x in (jnp.where(valid, values, 0), found.prediction))

        def updated(x: Array, above: Array, below: Array) -> Array:
            return x * jnp.where(below > 0, jnp.maximum(above, 0) / jnp.where(below > 0, below, 1), 1)

        return {name: updated(x, above[name], below[name]) for name, x in point.items()}, aside

    def parameters(self, point: Any) -> dict[str, Array]:
        return point


class PDHG(Proximal):
    """Primal-dual hybrid gradients: operators are applied and transposed, and no system is solved.

    Chambolle & Pock (2011, J. Math. Imaging Vis. 40, 120), with the misfit and each term of the prior dualized. For
    linear forward models with Gaussian or Poisson noise, and any regularizer.

    Attributes:
        balance: factor on the primal step, and divisor of the dual ones; 1 is a guess from the data's size.
        tolerance: see `Proximal`, as for the rest.
    """

    balance: float = 1.0
    tolerance: float = 1e-5

    def change(self, gone: Any, new: Any) -> Array:
        """Of the image and the misfit's dual; those of the terms are not unique, and creep where nothing else moves."""
        return fixed_point.relative((gone[0], gone[1][0]), (new[0], new[1][0]))

    def check(self, problem: Problem) -> None:
        check_image(problem, "PDHG")
        if not (is_linear(problem) and _weighted(problem)):
            raise ValueError("PDHG needs a linear operator, and Gaussian or Poisson noise: take solver=FISTA()")

    def setup(self, objective: Objective) -> tuple[Array, tuple[Array, ...]]:
        """The primal step, and the dual ones: of the misfit, then of the terms."""
        problem = objective.problem
        name, terms = image_of(problem)
        shape = problem.prior[name].shape()
        found = linear_at(objective, {name: jnp.zeros(shape)})
        values, valid = _values(objective, found.prediction)
        mean = jnp.sum(values) / jnp.maximum(jnp.sum(valid), 1)
        weights = problem.samplewise.weights(jnp.full_like(found.prediction, 1) * mean, objective.data)
        norm = _SAFE * found.norm()
        weight = jnp.sum(weights) / jnp.maximum(jnp.sum(valid), 1)
        guess = found.vjp(weights * values)[name] / (weight * norm**2)
        size = _SHORTER * self.balance * jnp.sqrt(jnp.mean(guess**2) + 1e-12)
        dual = jnp.sqrt(weight) * norm
        step = size / ((1 + len(terms)) * dual)
        norms = (norm, *(term.norm for term in terms))
        return jax.lax.stop_gradient((step, tuple(dual / (size * one**2) for one in norms)))

    def start(self, objective: Objective, setup: Any, parameters: dict[str, Array]) -> tuple[Any, Any]:
        (x,) = parameters.values()
        _, terms = image_of(objective.problem)
        ahead = (linear_at(objective, parameters).prediction, *(term.analysis(x) for term in terms))
        return (parameters, tuple(jnp.zeros_like(one) for one in ahead)), ()

    def move(self, objective: Objective, setup: Any, point: Any, aside: Any) -> tuple[Any, Any]:
        step, steps = setup
        before, (dual, *duals) = point
        ((name, x),) = before.items()
        _, terms = image_of(objective.problem)
        found = linear_at(objective, before)
        slope = found.vjp(dual)[name] + sum((t.synthesis(u) for t, u in zip(terms, duals)), jnp.zeros_like(x))
        new = x - step * slope
        twice = 2 * new - x
        seen = found.jvp({name: twice}) + dual / steps[0]
        dual = steps[0] * (seen - objective.problem.samplewise.prox(seen, 1 / steps[0], objective.data))
        after = []
        for term, each, u in zip(terms, steps[1:], duals, strict=True):
            moved = term.analysis(twice) + u / each
            after.append(each * (moved - term.prox(moved, 1 / each)))
        return ({name: new}, (dual, *after)), aside

    def parameters(self, point: Any) -> dict[str, Array]:
        return point[0]


def image_of(problem: Problem) -> tuple[str, tuple[Term, ...]]:
    """The name of the one array that a problem infers, and the terms of its prior."""
    (name,) = problem.names
    prior = problem.prior[name]
    return name, prior.terms if isinstance(prior, Regularizer) else ()


def check_image(problem: Problem, method: str) -> tuple[str, tuple[Term, ...]]:
    """`image_of`, where it is all that a method can take.

    Raises:
        ValueError: more than one parameter is inferred, the array is no image, or its prior is no regularizer.
    """
    if len(problem.names) != 1:
        raise ValueError(f"{method} infers one image; the prior infers {', '.join(problem.names)}: take solver=FISTA()")
    (name,) = problem.names
    prior = problem.prior[name]
    if not isinstance(prior, Regularizer):
        raise ValueError(
            f"{method} needs a prior with a prox, and that of {name!r} is a {type(prior).__name__}: give it "
            "imaging.Positivity, TotalVariation, Tikhonov, ..., or take solver=FISTA()"
        )
    return image_of(problem)


def is_linear(problem: Problem) -> bool:
    """Whether the forward model is a linear operator of all that is inferred; nothing is computed."""
    found = []

    def look() -> None:
        found.append(problem.linearize({name: priors.centre(problem.prior[name]) for name in problem.names}))

    try:
        jax.eval_shape(look)
    except (KeyError, ValueError):  # it reads what is not known here
        return False
    return isinstance(found[0], Linear)


def _weighted(problem: Problem) -> bool:
    """Whether the noise has weights and a prox."""
    return isinstance(problem.noise, Samplewise) and type(problem.noise).weights is not Samplewise.weights


def linear_at(objective: Objective, parameters: dict[str, Array]) -> Linear:
    """The linear forward model at parameters."""
    found = objective.problem.linearize({**objective.known, **parameters})
    assert isinstance(found, Linear)
    return found


def _linear(objective: Objective) -> Linear | None:
    """The forward model at 0, where it is linear, the noise Gaussian, and all that is inferred has a prox."""
    problem = objective.problem
    proximal = all(isinstance(problem.prior[name], Regularizer) for name in problem.names)
    if not (proximal and isinstance(problem.noise, Samplewise) and problem.noise.sum_of_squares):
        return None
    zero = {name: jnp.zeros(problem.prior[name].shape()) for name in problem.names}
    found = problem.linearize({**objective.known, **zero})
    return found if isinstance(found, Linear) else None


def _values(objective: Objective, prediction: Array) -> tuple[Array, Array]:
    """The data, 0 where they are left out, and whether they count."""
    data = objective.data
    values = getattr(data, "values", data)
    valid = objective.problem.noise.valid(values, data)
    return jnp.where(valid, jnp.broadcast_to(jnp.asarray(values, prediction.dtype), prediction.shape), 0), valid
