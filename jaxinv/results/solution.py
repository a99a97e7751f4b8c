"""What methods return: parameters, their covariance, the misfit and a status for every object."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from jaxinv.results.product import Group, Product


class Status(enum.IntEnum):
    """How the fit of one object ended. `CONVERGED` and `AT_BOUND` are usable; the others are flagged, never dropped.

    `POOR_FIT` is said of pixels of a map, whose misfits are compared.
    """

    CONVERGED = 0
    AT_BOUND = 1
    NOT_CONVERGED = 2
    NO_DATA = 3
    FAILED = 4
    POOR_FIT = 5
    NOT_COMPUTED = 7

    @property
    def message(self) -> str:
        """The status as a sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "converged to a minimum inside the prior's support",
    Status.AT_BOUND: "converged with one or more parameters at the edge of the prior's support",
    Status.NOT_CONVERGED: "still improving when the iterations ran out",
    Status.NO_DATA: "fewer valid samples than parameters with a flat prior",
    Status.FAILED: "no start gave a finite misfit",
    Status.POOR_FIT: "converged, with a misfit far above the map's: the model does not describe it",
    Status.NOT_COMPUTED: "not reached by the run",
}


class Route(enum.IntEnum):
    """How the answer of an object came about."""

    QUICK = 0
    REFITTED = 1
    UNFAMILIAR = 2

    @property
    def message(self) -> str:
        """The route as a sentence."""
        return {
            Route.QUICK: "the quick answer passed the check",
            Route.REFITTED: "fitted by Levenberg-Marquardt, from the quick answer and from the usual starts",
            Route.UNFAMILIAR: "unlike what the network was trained on, and fitted anew",
        }[self]


@dataclasses.dataclass(frozen=True)
class Solution:
    """The answer of an optimizer for one object or a batch; all arrays are NumPy arrays with the batch axes in front.

    Attributes:
        parameters: every parameter of the forward model (free, tied and fixed), `(*batch, *parameter_shape)`.
        standard_error: one standard deviation of each free or tied parameter, same shapes; NaN where unusable.
        covariance: `(*batch, n_free, n_free)` in the order of `labels`; of many parameters an operator that multiplies
            `(*batch, n_free)` by it (`covariance @ vectors`), or `None`, as the solver's `covariance` says.
        labels: one entry for each free scalar: `"velocity"`, or `"doppler_width[1]"` for an element of an array.
        chi2: `(*batch,)`, the sum of squared whitened residuals divided by the number of valid samples; NaN for a noise
            that has no residuals.
        iterations: `(*batch,)`, model evaluations over all starts.
        starts: `(*batch,)`, how many starting points were used.
        status: `(*batch,)`, values of `Status`.
    """

    parameters: dict[str, np.ndarray]
    standard_error: dict[str, np.ndarray]
    covariance: Any
    labels: tuple[str, ...]
    chi2: np.ndarray
    iterations: np.ndarray
    starts: np.ndarray
    status: np.ndarray

    def __post_init__(self) -> None:
        if self.covariance is not None and self.covariance.shape[-1] != len(self.labels):
            raise ValueError(
                f"the covariance is of {self.covariance.shape[-1]} scalars and has {len(self.labels)} labels "
                f"({', '.join(self.labels):.200})"
            )

    @property
    def has_matrix(self) -> bool:
        """Whether the covariance is a matrix."""
        return isinstance(self.covariance, np.ndarray)

    @property
    def correlation(self) -> np.ndarray:
        """`(*batch, n_free, n_free)`, the covariance scaled to a unit diagonal.

        Raises:
            ValueError: the fit made no dense covariance.
        """
        if not self.has_matrix:
            raise ValueError('the fit made no dense covariance: give its solver covariance="dense"')
        error = np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))
        return self.covariance / (error[..., :, None] * error[..., None, :])

    def count(self) -> dict[str, int]:
        """How many objects ended with each status, by name."""
        values = np.asarray(self.status)
        return {status.name.lower(): int(np.sum(values == status)) for status in Status}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: every parameter, `<name>_error` beside it, chi2, status, and a dense covariance.

        The batch axes are called `object_0`, `object_1`, ...; the covariance has the axes `parameter` and
        `parameter_`, whose coordinates are the labels.
        """
        import xarray

        objects = [f"object_{k}" for k in range(np.ndim(self.status))]

        def each(values: np.ndarray, name: str) -> Any:
            inner = [f"{name}_dim_{k}" for k in range(np.ndim(values) - len(objects))]
            return xarray.DataArray(values, dims=[*objects, *inner])

        variables = {name: each(values, name) for name, values in self.parameters.items()}
        variables |= {f"{name}_error": each(values, name) for name, values in self.standard_error.items()}
        for name in ("chi2", "iterations", "starts", "status"):
            variables[name] = each(getattr(self, name), name)
        if self.has_matrix:
            axes = ("parameter", "parameter_")
            variables["covariance"] = xarray.DataArray(
                self.covariance, dims=[*objects, *axes], coords={axis: list(self.labels) for axis in axes}
            )
        return xarray.Dataset(variables)

    def to_arrays(self, *, covariance: bool = True) -> dict[str, np.ndarray]:
        """As arrays by name, those of parameters as `parameters/...` and `standard_error/...`."""
        return {
            **{f"parameters/{name}": value for name, value in self.parameters.items()},
            **{f"standard_error/{name}": value for name, value in self.standard_error.items()},
            **{name: getattr(self, name) for name in ("chi2", "status", "iterations", "starts")},
            **({"covariance": self.covariance} if covariance and self.has_matrix else {}),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], labels: tuple[str, ...]) -> Solution:
        """Of what `to_arrays` gave."""

        def named(group: str) -> dict[str, np.ndarray]:
            return {name.split("/")[1]: value for name, value in arrays.items() if name.startswith(f"{group}/")}

        return cls(
            parameters=named("parameters"),
            standard_error=named("standard_error"),
            covariance=arrays.get("covariance"),
            labels=labels,
            **{name: arrays[name] for name in ("chi2", "iterations", "starts", "status")},
        )

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Solution:
        """The solution with every array changed alike: cut, reshaped, picked from."""
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                fields[field.name] = {name: change(array) for name, array in value.items()}
            elif field.name == "covariance" and not self.has_matrix:
                fields[field.name] = None if value is None else value.each(change)
            else:
                fields[field.name] = value if field.name == "labels" else change(value)
        return Solution(**fields)


@dataclasses.dataclass(frozen=True, repr=False)
class SolutionMap(Product):
    """A `Solution` over a map with what a file needs beside it: see `Product`.

    Attributes:
        solution: batch axes `(ny, nx)`.
        units: FITS unit of each parameter.
        header: FITS cards.
        provenance: what made the result.
        profile: of the instrument.
        route: values of `Route`, `(ny, nx)`, where the answers are a network's that were checked.
        depth: log tau of stratified parameters, `(ny, nx, n_depth)`.
    """

    kind = "solution"
    groups: ClassVar = {"parameters": Group(""), "standard_error": Group("_err", "one standard deviation")}
    codes: ClassVar = {"status": Status, "route": Route}
    comments: ClassVar = {
        "chi2": "sum of squared whitened residuals divided by the number of valid samples",
        "iterations": "model evaluations over all starts",
        "starts": "starting points used",
    }
    singles = ("chi2", "status", "iterations", "starts", "covariance", "route")

    solution: Solution
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    header: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    profile: np.ndarray | None = None
    route: np.ndarray | None = None
    depth: np.ndarray | None = None

    @property
    def estimate(self) -> dict[str, np.ndarray]:
        return self.solution.parameters

    @property
    def spread(self) -> dict[str, np.ndarray]:
        return self.solution.standard_error

    @property
    def others(self) -> dict[str, np.ndarray]:
        found = {name: getattr(self.solution, name) for name in ("chi2", "status", "iterations", "starts")}
        return found if self.route is None else {**found, "route": self.route}

    def to_arrays(self) -> dict[str, np.ndarray]:
        arrays = self.solution.to_arrays()
        return arrays if self.route is None else {**arrays, "route": self.route}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], **more: Any) -> SolutionMap:
        errors = [name.split("/")[1] for name in arrays if name.startswith("standard_error/")]
        labels = tuple(more.pop("labels", None) or errors)
        return cls(Solution.from_arrays(arrays, labels), route=arrays.get("route"), **more)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "labels": list(self.solution.labels)}

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> SolutionMap:
        chosen = dataclasses.replace(self.solution, covariance=None).each(change)
        return dataclasses.replace(self, solution=chosen)

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Maps of every parameter, `(ny, nx)`, of stratified ones `(ny, nx, n_depth)`."""
        return self.solution.parameters

    @property
    def standard_error(self) -> dict[str, np.ndarray]:
        """Maps of one standard deviation of every inferred parameter, `(ny, nx)`."""
        return self.solution.standard_error

    @property
    def chi2(self) -> np.ndarray:
        """Map of the misfit per valid sample, `(ny, nx)`."""
        return self.solution.chi2

    @property
    def status(self) -> np.ndarray:
        """Map of `Status` values, `(ny, nx)`."""
        return self.solution.status
