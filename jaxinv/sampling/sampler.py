"""`sample`: the posterior of every object of a batch, one compiled program for many of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike
from tqdm import tqdm

from jaxinv import batch, priors
from jaxinv.batch import Rows
from jaxinv.observation import Observation
from jaxinv.optimize import LevenbergMarquardt, fit
from jaxinv.posterior import Posterior, PosteriorStatus
from jaxinv.problem import Problem
from jaxinv.sampling.arviz_adapter import to_arviz
from jaxinv.sampling.diagnostics import Convergence, bfmi, convergence, reliable_pareto_k
from jaxinv.sampling.methods import Chains, Draws, Method, checked
from jaxinv.sampling.target import Target, locate
from jaxinv.solution import Solution

_LOCATED_TOGETHER = 64
_PREDICTIONS = 64
"""Replicated data sets for each posterior predictive p-value."""
_SAMPLING = 0x5A
"""Folded into the key, so that a key that has also drawn the data does not draw the same numbers again."""
_DIVERGENT = 1e-3
_LEAST_ESS = 400
_LAPACK = 200_000
"""Work of one batch of matrices that a CPU's LAPACK kernels do not yet split among threads (see `small_matrices`)."""

Advance = Callable[[int, int, int], None]
"""Told, from time to time: objects that are done, draws made, divergences among them, since the last time."""


def sample(
    problem: Problem,
    data: ArrayLike | Observation,
    *,
    key: PRNGKeyArray,
    method: Method | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Solution | None = None,
    memory: float = 2.0,
    n_predictive: int = 100,
    progress: bool = False,
) -> Any:
    """Draw from the posterior of one object, or of each object of a batch by itself.

    Args:
        problem: forward model, noise and prior.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that. Non-finite values are missing samples.
        key: random key, `jax.random.key(seed)`; each object draws from its own.
        method: `HMC()` by default; `NUTS()`, `Laplace()`, `SVI()`, or `Importance` of the last two.
        fixed: parameters known for each object, `(*batch, *parameter_shape)`, or one value for all.
        initial: what `fit` returned for the same problem and data, if it is at hand; else it is called.
        memory: refuse results larger than this [GiB].
        n_predictive: replicated data sets that the group `posterior_predictive` holds for one object; none for a batch.
        progress: show a bar with the rate and the time left.

    Returns:
        ArviZ's object (`DataTree`, or `InferenceData` before ArviZ 1.0) with the groups `posterior` (each inferred or
        tied parameter, dimensions chain, draw, those of the batch), `sample_stats`, `diagnostics` (R-hat, effective
        sample sizes, divergences, posterior predictive p-value, `status` for each object), `observed_data` and
        `posterior_predictive`. See `draw` for plain arrays.

    Raises:
        ValueError: as `fit`; the key is no random key; or the draws need more than `memory`.
    """
    method = checked(method)
    rows = batch.in_rows(problem, data, fixed)
    needed = rows.n * bytes_per_object(rows.problem, method) / 2**30
    if needed > memory:
        raise ValueError(
            f"draws of {rows.n} objects need {needed:.1f} GiB, more than memory={memory}: sample fewer at a time, "
            "or use jaxinv.pipelines.sample_maps, which keeps summaries and writes draws to disk"
        )
    with progress_bar(rows.n, progress) as bar:
        posterior = draw(problem, data, key=key, method=method, fixed=fixed, initial=initial, advance=advance_of(bar))
    replicates = None
    if not rows.shape and n_predictive > 0:
        replicates = predict(problem, data, posterior, key=key, n=n_predictive, fixed=fixed)
    return to_arviz(posterior, rows, replicates)


def draw(
    problem: Problem,
    data: ArrayLike | Observation,
    *,
    key: PRNGKeyArray,
    method: Method | None = None,
    fixed: Mapping[str, ArrayLike] | None = None,
    initial: Solution | None = None,
    settings: LevenbergMarquardt | None = None,
    first_index: int = 0,
    group: int = 0,
    advance: Advance | None = None,
) -> Posterior:
    """As `sample`, with a `Posterior` of plain arrays as the result.

    Args:
        problem: see `sample`, as for the next five.
        data: `(*batch, *prediction_shape)`, or an `Observation` of that.
        key: random key.
        method: `HMC()` by default.
        fixed: parameters known for each object.
        initial: what `fit` returned.
        settings: of the fit that finds the modes.
        first_index: the index of the first object in a larger batch that is sampled in pieces: the pieces draw from the
            keys that the whole would.
        group: objects sampled together on one device, padded to that many; 0: chosen for the device and the batch.
        advance: told of the progress.
    """
    method = checked(method)
    key = _checked(key)
    rows = batch.in_rows(problem, data, fixed)
    if rows.n == 0:
        raise ValueError(f"the data hold no object: their shape is {np.shape(_values(data))}")
    if initial is not None:
        _check_initial(rows, initial)
    else:
        initial = fit(problem, data, fixed=fixed, settings=settings, first_index=first_index)
    no_data = np.asarray(_count_valid(rows.problem, rows.observed)) == 0
    chosen = np.arange(rows.n) if no_data.all() else np.flatnonzero(~no_data)
    finished = _sampled(rows, chosen, initial, key, method, first_index, group, advance)
    return _posterior(rows, finished, chosen, no_data)


def _values(data: Any) -> Any:
    return data.values if isinstance(data, Observation) else data


def _check_initial(rows: Rows, initial: Solution) -> None:
    missing = [name for name in rows.problem.names if name not in initial.standard_error]
    if missing or np.shape(initial.status) != rows.shape:
        raise ValueError(
            f"`initial` is a fit of {', '.join(initial.standard_error)} for a batch of {np.shape(initial.status)}; "
            f"expected {', '.join(rows.problem.names)} for {rows.shape}: pass what `fit` returned for these data"
        )


def _sampled(
    rows: Rows,
    chosen: np.ndarray,
    initial: Solution,
    key: Array,
    method: Method,
    first_index: int,
    group: int,
    advance: Advance | None,
) -> dict[str, Any]:
    """Draws and diagnostics of the chosen objects."""
    problem, skipped = rows.problem, rows.n - len(chosen)
    observed, known = jax.tree.map(lambda x: x[chosen], (rows.observed, rows.known))
    rows = Rows(problem, observed, known, (len(chosen),))
    start, error = {}, {}
    for name in problem.names:  # a failed fit starts somewhere finite, and is judged by what comes of it
        shape = problem.prior[name].shape()
        found = initial.parameters[name].reshape(-1, *shape)[chosen]
        centre = np.asarray(priors.centre(problem.prior[name]))
        start[name] = np.where(np.isfinite(found), found, centre).astype(rows.dtype)
        error[name] = initial.standard_error[name].reshape(-1, *shape)[chosen].astype(rows.dtype)
    n_devices = len(jax.devices())
    size = n_devices * (group or min(default_group(method), -(-rows.n // n_devices)))
    keys = _keys(key, first_index + chosen)
    work = _Work(method, rows, size, advance or (lambda objects, draws, divergences: None))
    work.advance(skipped, 0, 0)
    places = [
        _locate(problem, piece.observed, piece.known, *work.pick((start, error), piece.index))
        for piece in work.pieces()
    ]
    finished = _run_chains(work, places, keys) if isinstance(method, Chains) else _run_once(work, places, keys)
    return {**finished, "status": _status(work, finished)}


def predict(
    problem: Problem,
    data: ArrayLike | Observation,
    posterior: Posterior,
    *,
    key: PRNGKeyArray,
    n: int = 100,
    fixed: Mapping[str, ArrayLike] | None = None,
) -> np.ndarray:
    """Replicated data, noise included, from `n` draws of each object: `(*batch, n, *prediction_shape)`."""
    if n < 1:
        raise ValueError(f"n must be 1 or more; found {n}")
    rows = batch.in_rows(problem, data, fixed)
    if np.shape(posterior.status) != rows.shape:
        raise ValueError(f"the posterior is of a batch of {np.shape(posterior.status)}, the data are of {rows.shape}")
    n_batch = len(rows.shape)
    count = int(np.prod(next(iter(posterior.draws.values())).shape[n_batch : n_batch + 2]))
    chosen = np.linspace(0, count - 1, n).astype(int)

    def some(name: str) -> np.ndarray:
        x = posterior.draws[name]
        return x.reshape(rows.n, count, *x.shape[n_batch + 2 :])[:, chosen]

    draws = {name: some(name) for name in rows.problem.names}
    keys = _keys(jax.random.fold_in(_checked(key), 1), np.arange(rows.n))
    replicates = np.asarray(_replicate(rows.problem, rows.observed, rows.known, draws, keys))
    return replicates.reshape(*rows.shape, *replicates.shape[1:])


def default_group(method: Method) -> int:
    """Objects sampled together on one device: 64 chains on a CPU, whose cache they fit, 16384 on an accelerator."""
    return max((64 if jax.default_backend() == "cpu" else 16384) // method.shape[0], 1)


def bytes_per_object(problem: Problem, method: Method) -> int:
    """Memory that one object's draws and their statistics take, working copies included."""
    scalars = sum(math.prod(problem.prior[name].shape()) for name in problem.names)
    return 4 * math.prod(method.shape) * (3 * scalars + 12)


def progress_bar(total: int, shown: bool, done: int = 0, unit: str = "px") -> tqdm:
    """A bar over objects that also shows draws per second and divergences so far."""
    return tqdm(
        total=total, initial=done, unit=unit, disable=not shown, desc="sampling", dynamic_ncols=True, smoothing=0.1
    )


def advance_of(bar: tqdm) -> Advance:
    """Moves a bar on."""
    import time

    begin, totals = time.perf_counter(), [0, 0]

    def advance(objects: int, draws: int, divergences: int) -> None:
        totals[0] += draws
        totals[1] += divergences
        rate = totals[0] / max(time.perf_counter() - begin, 1e-9)
        bar.set_postfix_str(f"{rate:.0f} draws/s, {totals[1]} divergences", refresh=False)
        bar.update(objects)

    return advance


class _Piece(NamedTuple):
    """Some objects, in a fixed number; the last ones may be repetitions."""

    index: np.ndarray
    n: int
    observed: Any
    known: dict[str, np.ndarray]


class _Work(NamedTuple):
    method: Method
    rows: Rows
    size: int
    advance: Advance

    def pick(self, tree: Any, index: np.ndarray) -> Any:
        return jax.tree.map(lambda x: x[index], tree)

    def pieces(self, chosen: np.ndarray | None = None) -> list[_Piece]:
        chosen = np.arange(self.rows.n) if chosen is None else chosen
        out = []
        for start in range(0, len(chosen), self.size):
            index = chosen[start : start + self.size]
            padded = batch.pad(index, self.size)
            observed, known = self.pick((self.rows.observed, self.rows.known), padded)
            out.append(_Piece(padded, len(index), observed, known))
        return out


def _run_once(work: _Work, places: list[Any], keys: Array) -> dict[str, Any]:
    parts = []
    for piece, place in zip(work.pieces(), places, strict=True):
        inputs = (piece.observed, piece.known, place)
        draws = _draw(work.method, work.rows.problem, inputs, keys[piece.index])
        parts.append(_cut(_judged(work, inputs, draws), piece.n))
        work.advance(piece.n, piece.n * math.prod(work.method.shape), 0)
    return _joined(parts)


def _run_chains(work: _Work, places: list[Any], keys: Array) -> dict[str, Any]:
    """All objects once, then those whose chains do not agree yet again and again, each time for twice as long."""
    method = work.method
    assert isinstance(method, Chains)
    problem = work.rows.problem
    per_object = math.prod(method.shape)
    parts, states = [], []
    for piece, place in zip(work.pieces(), places, strict=True):
        inputs = (piece.observed, piece.known, place)
        state = _begin(method, problem, inputs, keys[piece.index])
        state, _ = _go_on(method, problem, inputs, state, method.n_warmup, method.n_warmup)
        state, draws = _go_on(method, problem, inputs, state, method.n_draws, 1)
        part = _cut(_judged(work, inputs, draws), piece.n)
        part["scalars"]["doublings"] = np.zeros(piece.n, np.int32)
        going = ~_agree(method, part) & (method.max_doublings > 0)
        states.append(work.pick(state, np.flatnonzero(going)))
        parts.append(part)
        work.advance(int(np.sum(~going)), piece.n * per_object, int(part["scalars"]["divergences"].sum()))
    finished = _joined(parts)
    state = jax.tree.map(lambda *x: jnp.concatenate(x), *states)
    place = jax.tree.map(lambda *x: jnp.concatenate(x), *places)
    for doubling in range(1, method.max_doublings + 1):
        left = np.flatnonzero(~_agree(method, finished))
        if not left.size:
            break
        thin = 2 ** (doubling - 1)
        stays = []
        for piece in work.pieces(left):
            within = np.searchsorted(left, piece.index)
            inputs = (piece.observed, piece.known, work.pick(place, piece.index))
            after, more = _go_on(method, problem, inputs, work.pick(state, within), thin * method.n_draws, thin)
            # Old and new draws, `thin` steps apart, together; every second one stays.
            x = np.concatenate([finished["x"][piece.index], np.asarray(more.x)], axis=2)[:, :, 1::2]
            stats = {
                name: np.concatenate([finished["stats"][name][piece.index], np.asarray(value)], axis=2)[:, :, 1::2]
                for name, value in more.stats.items()
            }
            part = _judged(work, inputs, Draws(jnp.asarray(x), jax.tree.map(jnp.asarray, stats)))
            for name, total in (("divergences", "diverging"), ("steps", "n_steps")):
                new = np.asarray(more.stats[total]).sum((1, 2))
                part["scalars"][name] = finished["scalars"][name][piece.index] + new
            part["scalars"]["doublings"] = np.full(len(within), doubling, np.int32)
            part = _cut(part, piece.n)
            agree = _agree(method, part)
            stays.append(work.pick(after, np.flatnonzero(~agree)))
            _replace(finished, part, piece.index[: piece.n])
            last = doubling == method.max_doublings
            new = int(np.asarray(more.stats["diverging"])[: piece.n].sum())
            work.advance(piece.n if last else int(agree.sum()), piece.n * per_object * thin, new)
        state = jax.tree.map(lambda *x: jnp.concatenate(x), *stays)
    return finished


def _agree(method: Chains, part: dict[str, Any]) -> np.ndarray:
    """Whether every parameter's chains agree; also true where there is nothing to hope for."""
    worst = _worst(part)
    agree = (worst.r_hat < method.r_hat) & (worst.ess_bulk > method.ess) & (worst.ess_tail > method.ess)
    hopeless = ~np.isfinite(part["scalars"]["chi2"])
    return agree | hopeless


def _worst(part: dict[str, Any]) -> Convergence:
    """Over all parameters of each object."""
    flat = [x.reshape(len(x), -1) for x in part["r_hat"].values()]
    r_hat = np.max(np.nan_to_num(np.concatenate(flat, 1), nan=np.inf), axis=1)
    least = [
        np.min(np.nan_to_num(np.concatenate([x.reshape(len(x), -1) for x in part[name].values()], 1), nan=0), axis=1)
        for name in ("ess_bulk", "ess_tail")
    ]
    return Convergence(r_hat, *least)


def _status(work: _Work, finished: dict[str, Any]) -> np.ndarray:
    scalars, method, n = finished["scalars"], work.method, work.rows.n
    status = np.full(n, PosteriorStatus.CONVERGED, np.int16)
    if isinstance(method, Chains):
        steps = math.prod(method.shape) * 2.0 ** scalars["doublings"]
        status[scalars["divergences"] > _DIVERGENT * steps] = PosteriorStatus.DIVERGENT
        status[~_agree(method, finished)] = PosteriorStatus.NOT_CONVERGED
    if "pareto_k" in scalars:
        n_draws = math.prod(method.shape)
        reliable = scalars["pareto_k"] < reliable_pareto_k(n_draws)
        # Weights whose tail is not seen at all: a few draws have the weight of all.
        reliable &= scalars["weights_ess"] > min(_LEAST_ESS, n_draws / 2)
        status[~reliable] = PosteriorStatus.UNRELIABLE_WEIGHTS
    lp = finished["stats"]["lp"].reshape(n, -1)
    found = np.all(np.isfinite(lp) & (lp > -1e11), axis=1) & np.isfinite(scalars["chi2"])
    status[~found] = PosteriorStatus.FAILED
    return status


def _posterior(rows: Rows, finished: dict[str, Any], chosen: np.ndarray, no_data: np.ndarray) -> Posterior:
    """Of all objects, with NaN where an object has no draws."""
    status = np.full(rows.n, PosteriorStatus.NO_DATA, np.int16)
    status[chosen] = np.where(no_data[chosen], PosteriorStatus.NO_DATA, finished["status"])
    useless = (status == PosteriorStatus.NO_DATA) | (status == PosteriorStatus.FAILED)

    def shaped(x: np.ndarray) -> np.ndarray:
        whole = np.zeros((rows.n, *x.shape[1:]), x.dtype)
        whole[chosen] = x
        if np.issubdtype(x.dtype, np.floating):
            whole[useless] = np.nan
        return np.reshape(whole, (*rows.shape, *x.shape[1:]))

    problem = rows.problem
    order = [name for name in problem.forward.units if name in finished["draws"]]
    periods = {
        name: (float(np.asarray(distribution.low)), float(distribution.period))
        for name, distribution in priors.free(problem.prior).items()
        if isinstance(distribution, priors.Cyclic) and not distribution.shape()
    }
    groups = {
        group: jax.tree.map(shaped, finished[group]) for group in ("stats", "scalars", "r_hat", "ess_bulk", "ess_tail")
    }
    for group in ("r_hat", "ess_bulk", "ess_tail"):
        groups[group] = {name: groups[group][name] for name in order if name in groups[group]}
    draws = {name: shaped(finished["draws"][name]) for name in order}
    return Posterior(draws=draws, **groups, status=status.reshape(rows.shape), periods=periods)


def _judged(work: _Work, inputs: Any, draws: Draws) -> dict[str, Any]:
    """Parameters, convergence and misfit of each object, as NumPy arrays; all objects in front."""
    judged = _judge(work.rows.problem, inputs, draws.x)
    series = {name: np.asarray(value) for name, value in draws.stats.items()}
    scalars = {name: value for name, value in series.items() if value.ndim == 1}
    stats = {name: value for name, value in series.items() if value.ndim == 3}
    if "diverging" in stats:
        scalars |= {"divergences": stats["diverging"].sum((1, 2)), "steps": stats["n_steps"].sum((1, 2))}
        scalars |= {"tree_depth": stats["tree_depth"].mean((1, 2), np.float32), "bfmi": bfmi(stats["energy"])}
    judged = jax.tree.map(np.asarray, judged)
    return {**judged, "x": np.asarray(draws.x), "stats": stats, "scalars": {**judged["scalars"], **scalars}}


def _cut(tree: Any, n: int) -> Any:
    return jax.tree.map(lambda x: x[:n], tree)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _replace(whole: dict[str, Any], part: dict[str, Any], index: np.ndarray) -> None:
    def put(old: np.ndarray, new: np.ndarray) -> None:
        old[index] = new

    jax.tree.map(put, whole, part)


def _checked(key: Any) -> Array:
    """A typed key for sampling, from a typed or an old-style one."""
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
        return jax.random.fold_in(key, _SAMPLING)
    if getattr(key, "dtype", None) == np.uint32 and np.shape(key) == (2,):
        return jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(key)), _SAMPLING)
    raise ValueError(f"key must be one random key, `jax.random.key(seed)`; found {type(key).__name__} {key!r:.40}")


@jax.jit
def _keys(key: Array, indices: Array) -> Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)


def _spread(function: Callable[..., Any], factorizations: int, *arguments: Any) -> Any:
    """`function` of one object over the first axis of all arguments, on all devices.

    `factorizations` tells how much LAPACK has to do for one object: n^3, times the (n, n) matrices at one time.
    """
    mapped = jax.vmap(function)
    devices = jax.devices()
    n = len(jax.tree.leaves(arguments)[0])
    wedged = devices[0].platform == "cpu" and n * factorizations > _LAPACK * len(devices)
    if len(devices) == 1 or n % len(devices) or wedged:
        return mapped(*arguments)
    mesh = jax.make_mesh((len(devices),), ("objects",), axis_types=(jax.sharding.AxisType.Auto,))
    here = jax.sharding.PartitionSpec("objects")
    return jax.shard_map(mapped, mesh=mesh, in_specs=here, out_specs=here, check_vma=False)(*arguments)


@eqx.filter_jit
def _count_valid(problem: Problem, observed: Any) -> Array:
    values = observed.values if isinstance(observed, Observation) else observed
    return jax.vmap(lambda v, o: jnp.sum(problem.noise.valid(v, o)))(values, observed)


@eqx.filter_jit
def _locate(problem: Problem, observed: Any, known: Any, start: Any, error: Any) -> tuple[Any, Array, Array]:
    def one(item: Any) -> tuple[Any, Array, Array]:
        target = locate(problem, *item)
        return target.softness, target.centre, target.factor

    return jax.lax.map(one, (observed, known, start, error), batch_size=_LOCATED_TOGETHER)


@eqx.filter_jit
def _begin(method: Chains, problem: Problem, inputs: Any, keys: Array) -> Any:
    begin = lambda inputs, key: method.begin(_target(problem, inputs), key)  # noqa: E731
    return _spread(begin, _factorizations(method, inputs), inputs, keys)


def _go_on(method: Chains, problem: Problem, inputs: Any, states: Any, n_steps: int, thin: int) -> tuple[Any, Draws]:
    return _gone_on(method, problem, inputs, states, jnp.asarray(n_steps), jnp.asarray(thin))


@eqx.filter_jit
def _gone_on(method: Chains, problem: Problem, inputs: Any, states: Any, n_steps: Array, thin: Array) -> Any:
    def go_on(inputs: Any, states: Any) -> tuple[Any, Draws]:
        return method.go_on(_target(problem, inputs), states, n_steps, thin)

    return _spread(go_on, _factorizations(method, inputs), inputs, states)


@eqx.filter_jit
def _draw(method: Method, problem: Problem, inputs: Any, keys: Array) -> Draws:
    one = lambda inputs, key: method.draw(_target(problem, inputs), key)  # noqa: E731
    return _spread(one, _factorizations(method, inputs), inputs, keys)


def _factorizations(method: Method, inputs: Any) -> int:
    """Chains have a mass matrix each, in NumPyro's hands; an approximation may solve for each of its draws."""
    dimension = inputs[-1][1].shape[-1]
    return dimension**3 * (method.shape[0] if isinstance(method, Chains) else math.prod(method.shape))


def _target(problem: Problem, inputs: Any) -> Target:
    observed, known, place = inputs
    return Target(problem, observed, known, *place)


@eqx.filter_jit
def _judge(problem: Problem, inputs: Any, x: Array) -> dict[str, Any]:
    """Of each object: draws of its parameters, their convergence, misfit and posterior predictive p-value."""

    def one(item: Any) -> dict[str, Any]:
        inputs, x = item
        observed, known, _ = inputs
        target = _target(problem, inputs)
        free = jax.vmap(jax.vmap(target.parameters))(x)
        tied = priors.tied(problem.prior)

        def derived(parameters: dict[str, Array]) -> dict[str, Array]:
            everything = problem.complete({**known, **parameters})
            return {name: everything[name] for name in tied}

        found = _convergence(problem, free)
        chi2, p_value = _misfit(problem, observed, known, free)
        return {
            "draws": {**free, **(jax.vmap(jax.vmap(derived))(free) if tied else {})},
            "r_hat": {name: value.r_hat for name, value in found.items()},
            "ess_bulk": {name: value.ess_bulk for name, value in found.items()},
            "ess_tail": {name: value.ess_tail for name, value in found.items()},
            "scalars": {"chi2": chi2, "p_value": p_value},
        }

    return jax.lax.map(one, (inputs, x))


def _convergence(problem: Problem, draws: dict[str, Array]) -> dict[str, Convergence]:
    """The convergence of each element of each parameter, `(*parameter_shape)`; of an angle, the worst of two parts."""

    def columns(name: str) -> Array:
        distribution, value = problem.prior[name], draws[name]
        value = jnp.moveaxis(value.reshape(*value.shape[:2], -1), -1, 0)
        if not isinstance(distribution, priors.Cyclic):
            return value[None]
        phase = 2 * jnp.pi * (value - jnp.asarray(distribution.low)) / distribution.period
        return jnp.stack([jnp.cos(phase), jnp.sin(phase)])

    parts = {name: columns(name) for name in draws}
    together = jnp.concatenate([x.reshape(-1, *x.shape[2:]) for x in parts.values()])
    found, first = jax.vmap(convergence)(together), 0  # all in one: the program is as large as for one of them
    out = {}
    for name, x in parts.items():
        n_parts, size = x.shape[:2]
        r_hat, bulk, tail = (each[first : first + n_parts * size].reshape(n_parts, size) for each in found)
        worst = Convergence(r_hat.max(0), bulk.min(0), tail.min(0))
        out[name] = jax.tree.map(lambda x, shape=draws[name].shape[2:]: x.reshape(shape), worst)
        first += n_parts * size
    return out


def _misfit(problem: Problem, observed: Any, known: Any, free: dict[str, Array]) -> tuple[Array, Array]:
    """The mean misfit per sample over some draws, and how often replicated data fit worse than the real ones."""
    draws = _some(free, _PREDICTIONS)
    values = observed.values if isinstance(observed, Observation) else observed
    n_valid = jnp.maximum(jnp.sum(problem.noise.valid(values, observed)), 1)

    def one(parameters: dict[str, Array], key: Array) -> tuple[Array, Array]:
        prediction = problem.predict({**known, **parameters})
        real = jnp.sum(problem.noise.residual(prediction, observed) ** 2)
        replicate = _with_noise(problem, observed, prediction, key)
        return real, jnp.sum(problem.noise.residual(prediction, replicate) ** 2)

    real, replicated = jax.vmap(one)(draws, jax.random.split(jax.random.key(0), _PREDICTIONS))
    return jnp.mean(real) / n_valid, jnp.mean((replicated >= real).astype(real.dtype))


def _some(free: dict[str, Array], n: int) -> dict[str, Array]:
    def pick(x: Array) -> Array:
        flat = x.reshape(-1, *x.shape[2:])
        return flat[jnp.linspace(0, len(flat) - 1, n).astype(int)]

    return {name: pick(x) for name, x in free.items()}


def _with_noise(problem: Problem, observed: Any, prediction: Array, key: Array) -> Any:
    """Replicated data with the sigma and the gaps of the real ones."""
    noise = problem.noise
    values = observed.values if isinstance(observed, Observation) else observed
    valid = noise.valid(values, observed)
    if isinstance(observed, Observation):
        sigma = jnp.where(valid, observed.sigma, 1)
        noise = eqx.tree_at(lambda n: n.sigma, noise, sigma)
    drawn = jnp.where(valid, noise.simulate(key, prediction), jnp.nan)
    return Observation(drawn, observed.sigma) if isinstance(observed, Observation) else drawn


@eqx.filter_jit
def _replicate(problem: Problem, observed: Any, known: Any, draws: Any, keys: Array) -> Array:
    def one(item: Any) -> Array:
        observed, known, draws, key = item

        def replicate(parameters: dict[str, Array], key: Array) -> Array:
            out = _with_noise(problem, observed, problem.predict({**known, **parameters}), key)
            return out.values if isinstance(out, Observation) else out

        return jax.vmap(replicate)(draws, jax.random.split(key, len(jax.tree.leaves(draws)[0])))

    return jax.lax.map(one, (observed, known, draws, keys))
