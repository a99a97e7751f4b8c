"""What the host does with a batch: cut it into pieces of one size, run them, go on with those that need it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxinv.compute import batch
from jaxinv.compute.batch import Rows
from jaxinv.compute.progress import Advance
from jaxinv.noise import Samplewise
from jaxinv.results.posterior import PosteriorStatus
from jaxinv.sampling import programs
from jaxinv.sampling.approximations import Importance
from jaxinv.sampling.auto import Auto
from jaxinv.sampling.diagnostics import Convergence, bfmi, reliable_pareto_k
from jaxinv.sampling.methods import Chains, Draws, Method

_DIVERGENT = 1e-3
_LEAST_ESS = 400
_SAMPLES = 8192
"""Predicted together on a CPU: chains of more samples gain nothing by more company."""


class Piece(NamedTuple):
    """Some objects, in a fixed number; the last ones may be repetitions."""

    index: np.ndarray
    n: int
    observed: Any
    known: dict[str, np.ndarray]


class Work(NamedTuple):
    """A method, the objects it works on, how many there were in all, and whom to tell of the progress."""

    method: Method | Auto
    rows: Rows
    n: int
    advance: Advance

    @property
    def size(self) -> int:
        """How many objects are worked on together: by the size of the whole batch, so that gaps make no new program."""
        n_devices = len(jax.devices())
        n_samples = math.prod(jax.tree.leaves(self.rows.observed)[0].shape[1:])
        return n_devices * min(default_group(self.method, n_samples), -(-self.n // n_devices))

    def pick(self, tree: Any, index: np.ndarray) -> Any:
        return jax.tree.map(lambda x: x[index], tree)

    def pieces(self, chosen: np.ndarray | None = None) -> list[Piece]:
        chosen = np.arange(self.rows.n) if chosen is None else chosen
        out = []
        for start in range(0, len(chosen), self.size):
            index = chosen[start : start + self.size]
            padded = batch.pad(index, self.size)
            observed, known = self.pick((self.rows.observed, self.rows.known), padded)
            out.append(Piece(padded, len(index), observed, known))
        return out


def default_group(method: Method | Auto, n_samples: int) -> int:
    """Objects sampled together on one device: 16384 chains on an accelerator, on a CPU as few as keep it busy.

    That is 16 chains, or up to 64 of data of few samples. So few places stay empty where only some objects go on.
    """
    chains = method.shape[0] if isinstance(method, Chains) else 1
    if jax.default_backend() != "cpu":
        return max(16384 // chains, 1)
    return max(int(np.clip(_SAMPLES // max(n_samples, 1), 16, 64)) // chains, 1)


def run(work: Work, place: Any, keys: Array) -> dict[str, Any]:
    """Draws, diagnostics and status of all objects; `place` is what `programs.locate_all` found of them."""
    if isinstance(work.method, Auto):
        return run_in_turn(work, work.method.methods, place, keys)
    if isinstance(work.method, Chains):
        finished = run_chains(work, work.method, place, keys)
    else:
        finished = run_once(work, work.method, place, keys)
    status = status_of(work, finished)
    route = np.full(work.rows.n, work.method.route, np.int16)
    scalars = {**finished["scalars"], "route": route}
    return {**finished, "scalars": scalars, "status": status}


def run_in_turn(work: Work, methods: Sequence[Method], place: Any, keys: Array) -> dict[str, Any]:
    """All objects by the first method, those that do not pass by the next one, and so on."""
    left, whole = np.arange(work.rows.n), None
    for turn, method in enumerate(methods):
        last = turn == len(methods) - 1
        quiet = lambda objects, draws, divergences: work.advance(0, draws, divergences)  # noqa: E731
        inner = Work(method, work.rows.pick(left), work.n, work.advance if last else quiet)
        found = run(inner, work.pick(place, left), programs.keys_of_turn(keys[left], turn))
        found = {name: found[name] for name in found if name != "x"}
        for group in ("stats", "draws"):
            found[group] = {name: _arranged(x, work.method.shape) for name, x in found[group].items()}
        whole = found if whole is None else _merged(whole, found, left, work.rows.n)
        passed = found["status"] == PosteriorStatus.CONVERGED
        if not last:
            work.advance(int(passed.sum()), 0, 0)
        left = left[~passed]
        if not left.size:
            break
    assert whole is not None
    return whole


def _arranged(x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return x.reshape(len(x), *shape, *x.shape[3:])


def _merged(whole: dict[str, Any], part: dict[str, Any], index: np.ndarray, n: int) -> dict[str, Any]:
    """The whole with a part in place of some objects: statistics of draws that both have, all that is said of objects.

    What a method has not said of an object is NaN, or 0 where it is a number of something.
    """
    out: dict[str, Any] = {"status": whole["status"]}
    out["status"][index] = part["status"]
    for group in ("draws", "r_hat", "ess_bulk", "ess_tail", "stats"):
        out[group] = {name: whole[group][name] for name in whole[group] if name in part[group]}
        _replace(out[group], {name: part[group][name] for name in out[group]}, index)
    scalars = dict(whole["scalars"])
    for name, x in part["scalars"].items():
        if name not in scalars:
            scalars[name] = np.full(n, np.nan if np.issubdtype(x.dtype, np.floating) else 0, x.dtype)
        scalars[name][index] = x
    return {**out, "scalars": scalars}


def run_once(work: Work, method: Method, place: Any, keys: Array) -> dict[str, Any]:
    """Draws and diagnostics of all objects by a method that is done in one go."""
    parts = []
    for piece in work.pieces():
        inputs = (piece.observed, piece.known, work.pick(place, piece.index))
        draws = programs.draw_all(method, work.rows.problem, inputs, keys[piece.index])
        parts.append(_cut(_judged(work, inputs, draws, keys[piece.index]), piece.n))
        work.advance(piece.n, piece.n * math.prod(method.shape), 0)
    return _joined(parts)


def run_chains(work: Work, method: Chains, place: Any, keys: Array) -> dict[str, Any]:
    """All objects once, then those whose chains do not agree yet again and again, each time for twice as long."""
    problem = work.rows.problem
    per_object = math.prod(method.shape)
    parts, states = [], []
    for piece in work.pieces():
        inputs = (piece.observed, piece.known, work.pick(place, piece.index))
        state = programs.begin(method, problem, inputs, keys[piece.index])
        state, _ = programs.go_on(method, problem, inputs, state, method.n_warmup, method.n_warmup)
        state, draws = programs.go_on(method, problem, inputs, state, method.n_draws, 1)
        part = _cut(_judged(work, inputs, draws, keys[piece.index]), piece.n)
        part["scalars"]["doublings"] = np.zeros(piece.n, np.int32)
        going = ~_agree(method, part) & (method.max_doublings > 0)
        states.append(work.pick(state, np.flatnonzero(going)))
        parts.append(part)
        work.advance(int(np.sum(~going)), piece.n * per_object, int(part["scalars"]["divergences"].sum()))
    finished = _joined(parts)
    state = jax.tree.map(lambda *x: jnp.concatenate(x), *states)
    for doubling in range(1, method.max_doublings + 1):
        left = np.flatnonzero(~_agree(method, finished))
        if not left.size:
            break
        thin = 2 ** (doubling - 1)
        stays = []
        for piece in work.pieces(left):
            within = np.searchsorted(left, piece.index)
            inputs = (piece.observed, piece.known, work.pick(place, piece.index))
            after, more = programs.go_on(method, problem, inputs, work.pick(state, within), thin * method.n_draws, thin)
            # Old and new draws, `thin` steps apart, together; every second one stays.
            x = np.concatenate([finished["x"][piece.index], np.asarray(more.x)], axis=2)[:, :, 1::2]
            stats = {
                name: np.concatenate([finished["stats"][name][piece.index], np.asarray(value)], axis=2)[:, :, 1::2]
                for name, value in more.stats.items()
            }
            part = _judged(work, inputs, Draws(jnp.asarray(x), jax.tree.map(jnp.asarray, stats)), keys[piece.index])
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


def status_of(work: Work, finished: dict[str, Any]) -> np.ndarray:
    """`(n,)` of `PosteriorStatus`."""
    scalars, method, n = finished["scalars"], work.method, work.rows.n
    status = np.full(n, PosteriorStatus.CONVERGED, np.int16)
    if isinstance(method, Chains):
        steps = math.prod(method.shape) * 2.0 ** scalars["doublings"]
        status[scalars["divergences"] > _DIVERGENT * steps] = PosteriorStatus.DIVERGENT
        status[~_agree(method, finished)] = PosteriorStatus.NOT_CONVERGED
    if "pareto_k" in scalars:
        assert isinstance(method, Importance)
        reliable = scalars["pareto_k"] < reliable_pareto_k(method.proposals)
        # Weights whose tail is not seen at all: a few draws have the weight of all.
        reliable &= scalars["weights_ess"] > min(_LEAST_ESS, method.proposals / 2)
        status[~reliable] = PosteriorStatus.UNRELIABLE_WEIGHTS
    lp = finished["stats"]["lp"].reshape(n, -1)
    found = np.all(np.isfinite(lp) & (lp > -1e11), axis=1)
    if isinstance(work.rows.problem.noise, Samplewise):
        found &= np.isfinite(scalars["chi2"])
    status[~found] = PosteriorStatus.FAILED
    return status


def _judged(work: Work, inputs: Any, draws: Draws, keys: Array) -> dict[str, Any]:
    """Parameters, convergence and misfit of each object, as NumPy arrays; all objects in front."""
    judged = programs.judge(work.rows.problem, inputs, draws.x, keys, isinstance(work.method, Chains))
    series = {name: np.asarray(value) for name, value in draws.stats.items()}
    scalars = {name: value for name, value in series.items() if value.ndim == 1}
    stats = {name: value for name, value in series.items() if value.ndim == 3}
    if "diverging" in stats:
        scalars |= {"divergences": stats["diverging"].sum((1, 2)), "steps": stats["n_steps"].sum((1, 2))}
        scalars |= {"tree_depth": stats["tree_depth"].mean((1, 2), np.float32), "bfmi": bfmi(stats["energy"])}
    judged = jax.tree.map(np.asarray, judged)
    if "weights_ess" in scalars:
        for group in ("ess_bulk", "ess_tail"):
            judged[group] = {
                name: np.minimum(x, scalars["weights_ess"].reshape(-1, *(1,) * (x.ndim - 1)))
                for name, x in judged[group].items()
            }
    return {**judged, "x": np.asarray(draws.x), "stats": stats, "scalars": {**judged["scalars"], **scalars}}


def _cut(tree: Any, n: int) -> Any:
    return jax.tree.map(lambda x: x[:n], tree)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _replace(whole: dict[str, Any], part: dict[str, Any], index: np.ndarray) -> None:
    def put(old: np.ndarray, new: np.ndarray) -> None:
        old[index] = new

    jax.tree.map(put, whole, part)
