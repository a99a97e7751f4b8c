"""What the physics knows beyond its prediction: first estimates, coordinates, closed forms, symmetries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

from jaxinv.coordinates import Block
from jaxinv.priors import Prior


class Rotation(NamedTuple):
    """An exact symmetry that moves data and a parameter together.

    Attributes:
        name: the parameter.
        turn: `(prediction, x) -> prediction` of the parameter plus `x`; it keeps sums of squares.
        best: `(prediction, values, weights) -> x` for which the sum of squared differences of the turned prediction to
            `values`, times `weights`, is least; 0 where the weights do not turn along.
    """

    name: str
    turn: Callable[[Array, Array], Array]
    best: Callable[[Array, Array, Array], Array]


class Symmetry(NamedTuple):
    """A group of exact symmetries that move data and parameters together; an `element` of it is a pytree.

    They give data a canonical frame, in which a network need not learn what the physics knows, and augment real data
    without a truth. Data are said to be turned by an element: the model predicts them from turned parameters.

    Attributes:
        names: the parameters that move.
        suits: `prior -> bool`: whether the support of a prior is that of the turned parameters, too.
        mixed: groups of rows of the data that are mixed: there a turned noise is the same noise only where the rows of
            a group have the same sigma.
        find: `(values, valid) -> element` by which data are turned away from their canonical frame.
        draw: `key -> element`, one of those that keep sigma.
        inverse: `element -> element`.
        data: `(element, values) -> values`, turned.
        parameters: `(element, parameters) -> parameters`, turned.
        scale: `element -> factor` by which data are scaled, and sigma with them.
    """

    names: tuple[str, ...]
    suits: Callable[[Prior], bool]
    mixed: tuple[tuple[int, ...], ...]
    find: Callable[[Array, Array], Any]
    draw: Callable[[Array], Any]
    inverse: Callable[[Any], Any]
    data: Callable[[Any, Array], Array]
    parameters: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    scale: Callable[[Any], Array]


class Affine(NamedTuple):
    """The prediction is constant * c + slope * s, where only s depends on other parameters.

    Attributes:
        constant: name of the scalar parameter that adds.
        slope: name of the scalar parameter that multiplies.
    """

    constant: str
    slope: str


class Knowledge(NamedTuple):
    """What the physics knows beyond its prediction, in one bundle: what wraps a model hands on all of it.

    A wrapper replaces the entries that it changes (`knowledge._replace(guess=...)`); what it knows nothing of passes.

    Attributes:
        guess: `(values, valid) -> estimates`: classical estimates from one object's data, `(n_guesses,
            *parameter_shape)` each, the best first. `valid` is `False` where a sample is missing. A parameter that is
            left out starts at the centre of its prior.
        canonical: `parameters -> parameters`: the representative, inside the usual ranges, of all parameters that
            predict exactly the same; all the model's parameters go in, and the same names come out.
        coordinates: `prior -> blocks`: coordinates in which the problem is rounder than in the parameters one by one,
            where the prior's supports allow.
        rotation: a parameter that turns the prediction; `None`: there is none.
        affine: two parameters in which the prediction is linear; `None`: there are none. Of both kinds, the best value
            given all other parameters has a closed form.
        symmetry: exact symmetries that move data and parameters together; `None`: none are known.
        inverse: `(values, valid) -> estimates`: the classical answer in one pass that a network improves on (filtered
            back-projection), linear in the values where all are valid; `None`: there is none.
        working_set: numbers that the model holds at a time for one object beside its prediction and Jacobian, where
            they are many: a CPU works on as many objects together as its cache has room for.
    """

    guess: Callable[[Array, Array], dict[str, Array]] = lambda values, valid: {}
    canonical: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    coordinates: Callable[[Prior], tuple[Block, ...]] = lambda prior: ()
    rotation: Rotation | None = None
    affine: Affine | None = None
    symmetry: Symmetry | None = None
    inverse: Callable[[Array, Array], dict[str, Array]] | None = None
    working_set: int = 0
