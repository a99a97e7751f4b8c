"""A product: any result on a map, with units, world coordinates and all that made it."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np


class Group(NamedTuple):
    """Arrays that there are one of for each parameter.

    Attributes:
        ending: of their names in files, behind the parameter's.
        comment: what they are.
        has_unit: whether they are in the parameter's unit.
    """

    ending: str
    comment: str = ""
    has_unit: bool = True


class Product(abc.ABC):
    """What all results on a map have in common; each kind of them says which arrays it has.

    Attributes:
        kind: what it is, in files.
        groups: arrays that there are one of for each parameter, the parameter's value first.
        codes: what whole numbers in arrays such as `status` stand for.
        comments: of single arrays.
        singles: arrays that there is one of.
        mark: the ending of an array that each parameter has in a file.
        rest: the group of arrays that are neither a parameter's nor single ones.
        units: FITS unit of each parameter ("" for pure numbers), as its arrays are here: angles in radians.
        header: FITS cards of the two spatial axes and the observation's origin (see `StokesCube.header`).
        provenance: what made the result, as strings: `version`, `command`, `options` (YAML, from which the run can be
            repeated), `input`, `input_sha256`, and what was measured on the way (`sigma`, `wavelength_shift`, ...).
        profile: `(2, n)` offsets [angstrom] and transmission of the instrument's spectral profile, if it was a table.
        depth: `(n_depth,)` log10 of the optical depth at 5000 angstrom, along the last axis of stratified parameters;
            `None` where there are none.
    """

    kind: ClassVar[str]
    groups: ClassVar[Mapping[str, Group]]
    codes: ClassVar[Mapping[str, type[enum.IntEnum]]]
    comments: ClassVar[Mapping[str, str]] = {}
    singles: ClassVar[Collection[str]] = ("status",)
    mark: ClassVar[str] = ""
    rest: ClassVar[str] = ""
    depth: np.ndarray | None = None

    units: Mapping[str, str]
    header: Mapping[str, Any]
    provenance: Mapping[str, str]
    profile: np.ndarray | None

    @property
    @abc.abstractmethod
    def estimate(self) -> dict[str, np.ndarray]:
        """The best value of each parameter, `(ny, nx)`."""

    @property
    @abc.abstractmethod
    def spread(self) -> dict[str, np.ndarray]:
        """How far each may be off: one standard error, or half the width of the central 68 %."""

    def interval(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Between which values a parameter lies with a probability of 68 %; `None`: it was not inferred."""
        if name not in self.spread:
            return None
        return self.estimate[name] - self.spread[name], self.estimate[name] + self.spread[name]

    @property
    @abc.abstractmethod
    def others(self) -> dict[str, np.ndarray]:
        """Maps that belong to no parameter: `chi2`, `status`, ..."""

    @abc.abstractmethod
    def to_arrays(self) -> dict[str, np.ndarray]:
        """All arrays, `(ny, nx, ...)`, by `group/parameter` or by their names: `from_arrays` gets the same back."""

    @classmethod
    @abc.abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], **more: Any) -> Product:
        """Of arrays, and of `units`, `header`, `provenance`, `profile` and what else the kind has."""

    @abc.abstractmethod
    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Self:
        """The product with every array of a pixel changed alike; without a covariance or draws."""

    def info(self) -> dict[str, Any]:
        """What is needed beside the arrays, as JSON can hold it: `product_of` gets the product back."""
        return {
            "kind": self.kind,
            "units": dict(self.units),
            "header": {key: plain(value) for key, value in self.header.items()},
            "provenance": dict(self.provenance),
            "profile": None if self.profile is None else np.asarray(self.profile).tolist(),
            **({} if self.depth is None else {"depth": np.asarray(self.depth).tolist()}),
        }

    def is_stratified(self, values: np.ndarray) -> bool:
        """Whether an array has an axis of depths."""
        return self.depth is not None and values.ndim == 3 and values.shape[-1] == len(self.depth)

    def at(self, log_tau: float) -> Self:
        """Maps at one optical depth, between those of the grid by linear interpolation; without a covariance or draws.

        Args:
            log_tau: log10 of the optical depth at 5000 angstrom.

        Raises:
            ValueError: the parameters are the same at all depths, or the grid does not reach that depth.
        """
        if self.depth is None:
            raise ValueError("the parameters of this product have no depth")
        depth = np.asarray(self.depth)
        if not depth.min() <= log_tau <= depth.max():
            raise ValueError(f"the depths run from log tau {depth.max():g} to {depth.min():g}; asked for {log_tau:g}")
        order = np.argsort(depth)
        upper = int(np.clip(np.searchsorted(depth[order], log_tau), 1, len(depth) - 1))
        below, above = order[upper - 1], order[upper]
        part = (log_tau - depth[below]) / (depth[above] - depth[below])

        def picked(values: np.ndarray) -> np.ndarray:
            if not self.is_stratified(values):
                return values
            return ((1 - part) * values[..., below] + part * values[..., above]).astype(values.dtype)

        said = {**self.provenance, "log_tau": f"{log_tau:g}"}
        return dataclasses.replace(self.each(picked), provenance=said, depth=None)  # pyright: ignore[reportArgumentType]

    def stratification(self, y: int, x: int) -> dict[str, np.ndarray]:
        """One pixel: `log_tau` and every parameter at every depth, `(n_depth,)` each.

        Raises:
            ValueError: the parameters are the same at all depths.
        """
        if self.depth is None:
            raise ValueError("the parameters of this product have no depth")
        depth = np.asarray(self.depth)
        found = {name: np.broadcast_to(values[y, x], depth.shape) for name, values in self.estimate.items()}
        return {"log_tau": depth, **found}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map, `(ny, nx)`."""
        return np.shape(self.others["status"])

    @property
    def options(self) -> dict[str, Any]:
        """The options that made it: `InvertConfig(**options)` and the like make it again."""
        from ruamel.yaml import YAML

        return YAML(typ="safe", pure=True).load(self.provenance.get("options", "{}"))

    def count(self) -> dict[str, int]:
        """How many pixels ended with each status, by name."""
        values = np.asarray(self.others["status"])
        return {code.name.lower(): int(np.sum(values == code)) for code in self.codes["status"]}

    @classmethod
    def place(cls, name: str, names: Collection[str]) -> str:
        """What `to_arrays` calls an array that is called `name` in a file, in which there are `names`."""
        for group, (ending, *_) in cls.groups.items():
            if ending and name.endswith(ending) and name.removesuffix(ending) in names:
                return f"{group}/{name.removesuffix(ending)}"
        if name in cls.singles:
            return name
        group = next(iter(cls.groups)) if name + cls.mark in names else cls.rest
        return f"{group}/{name}"

    def named(self) -> Iterator[tuple[str, str, str, np.ndarray]]:
        """Each array: its name in files (`velocity_err`), its unit, what it is, and itself; parameter by parameter."""
        arrays = self.to_arrays()
        for name in self.estimate:
            for group, (ending, comment, has_unit) in self.groups.items():
                if (values := arrays.pop(f"{group}/{name}", None)) is not None:
                    yield name + ending, self.units.get(name, "") if has_unit else "", comment, values
        for name, values in arrays.items():
            name = name.rpartition("/")[2]
            yield name, "", self.comments.get(name, ""), values

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` over `y` and `x`: a variable for each array, with its unit; provenance as attributes.

        Stratified parameters have the third axis `log_tau`. Where the header has linear axes, `y` and `x` are
        coordinates, in their unit.
        """
        import xarray

        variables = {}
        for name, unit, comment, values in self.named():
            inner = [f"{name}_dim_{k}" for k in range(values.ndim - 2)]
            inner = ["log_tau"] if self.is_stratified(values) else inner
            words = {"units": unit, "long_name": comment}
            variables[name] = xarray.DataArray(
                values, dims=["y", "x", *inner], attrs={key: word for key, word in words.items() if word}
            )
        dataset = xarray.Dataset(variables, attrs=dict(self.provenance))
        if self.depth is not None:
            dataset = dataset.assign_coords(log_tau=np.asarray(self.depth))
        for axis, (name, n) in enumerate(zip(("x", "y"), self.shape[::-1], strict=True), 1):
            step = self.header.get(f"CDELT{axis}")
            if step is not None:
                reference, value = self.header.get(f"CRPIX{axis}", 1.0), self.header.get(f"CRVAL{axis}", 0.0)
                places = value + (np.arange(1, n + 1) - reference) * step
                unit = {"units": str(self.header.get(f"CUNIT{axis}", "")).strip()}
                dataset = dataset.assign_coords({name: xarray.DataArray(places, dims=[name], attrs=unit)})
        return dataset

    def __repr__(self) -> str:
        ny, nx = self.shape
        origin = " ".join(str(self.header[key]) for key in ("TELESCOP", "DATE-OBS") if self.header.get(key))
        shown = [f"{name} [{self.units[name]}]" if self.units.get(name) else name for name in self.estimate]
        depths = []
        if self.depth is not None:
            depths = [f"depths      {len(self.depth)}, log tau {self.depth[0]:g} to {self.depth[-1]:g}"]
        count = {name.replace("_", " "): n for name, n in self.count().items() if n}
        lines = [
            f"<{type(self).__name__}: {ny} x {nx} pixels (y, x){', ' * bool(origin)}{origin}>",
            f"parameters  {', '.join(shown)}",
            *depths,
            f"status      {', '.join(f'{n} {name}' for name, n in count.items())}",
        ]
        chi2 = self.others.get("chi2")
        if chi2 is not None and np.isfinite(chi2).any():
            lines.append(f"misfit      {np.nanmedian(chi2):.3f} per sample (median)")
        made = [self.provenance[key] for key in ("lines", "command") if self.provenance.get(key)]
        if made:
            lines.append(f"of          {'; '.join(made)}")
        return "\n".join(lines)


def product_of(arrays: Mapping[str, np.ndarray], info: Mapping[str, Any], **more: Any) -> Any:
    """The product that `Product.info` and `Product.to_arrays` came from.

    Raises:
        ValueError: it is of no kind that is known.
    """
    from jaxinv.results.posterior import PosteriorMap
    from jaxinv.results.solution import SolutionMap

    kinds = {kind.kind: kind for kind in (SolutionMap, PosteriorMap)}
    kind = info.get("kind")
    if kind not in kinds:
        raise ValueError(f"a product is one of {', '.join(kinds)}; found {kind!r}")
    rest = {name: value for name, value in info.items() if name != "kind"}
    first = f"{next(iter(kinds[kind].groups))}/"
    there = [name.removeprefix(first) for name in arrays if name.startswith(first)]
    rest["units"] = {name: rest["units"].get(name, "") for name in there}
    for name in ("profile", "depth"):
        if rest.get(name) is not None:
            rest[name] = np.array(rest[name])
    return kinds[kind].from_arrays(arrays, **rest, **more)


def options_text(options: Mapping[str, Any]) -> str:
    """Options as one line of YAML, for a provenance."""
    import io

    from ruamel.yaml import YAML

    writer: Any = YAML(typ="safe", pure=True)
    text = io.StringIO()
    writer.default_flow_style, writer.width, writer.sort_base_mapping_type_on_output = True, 2**31, False
    writer.dump(_listed(dict(options)), text)
    return text.getvalue().strip()


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else plain(value)


def plain(value: Any) -> Any:
    """A number of NumPy's as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
