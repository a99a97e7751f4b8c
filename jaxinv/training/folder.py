"""A trained thing as one folder: `card.json` says what it is, `weights.npz` holds its arrays.

What is written is a tree of modules, settings, names and numbers; only classes that the reader names are made again, so
a folder from elsewhere can do no harm.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxinv import __version__
from jaxinv.compute.atomic import OutputError, write_atomically
from jaxinv.forward import Forward
from jaxinv.networks import Network
from jaxinv.priors import Prior, Tied
from jaxinv.problem import Problem

FORMAT = 1
"""Of the folder; another number is another layout."""


class FolderError(ValueError):
    """A folder of a trained network cannot be read, or is not what was asked for."""


def save(path: str | os.PathLike[str], thing: Any, card: Mapping[str, Any]) -> None:
    """Write a trained thing to a folder; files of an older one are replaced, each whole or not at all.

    Args:
        path: the folder.
        thing: a module whose fields are modules, settings, arrays, texts, numbers, or containers of them.
        card: what else a reader wants to know of it, as JSON can say it.

    Raises:
        OutputError: it cannot be written.
    """
    folder, arrays = Path(path), {}
    tree = _taken_apart(thing, "", arrays)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    write_atomically(folder / "weights.npz", lambda file: np.savez_compressed(file, **arrays), overwrite=True)
    digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    header = {"kind": type(thing).__name__, "format": FORMAT, "jaxinv": __version__, "weights_sha256": digest}
    text = json.dumps({**header, **card, "contents": tree}, indent=1).encode()
    write_atomically(folder / "card.json", lambda file: file.write(text), overwrite=True)


def load(path: str | os.PathLike[str], kind: type, parts: Sequence[type] = ()) -> tuple[Any, dict[str, Any]]:
    """A trained thing and its card.

    Args:
        path: the folder.
        kind: the class that is expected.
        parts: other classes that its fields may be of.

    Raises:
        FolderError: the folder is not there, damaged, of another kind, or written in another format.
    """
    folder = Path(path)
    card = read_card(folder)
    if card.get("kind") != kind.__name__:
        raise FolderError(f"{folder} holds a trained {card.get('kind')}; expected a {kind.__name__}")
    try:
        digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
        if digest != card.get("weights_sha256"):
            raise ValueError("its contents are not those that the card was written for")
        with np.load(folder / "weights.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FolderError(f"{folder / 'weights.npz'} is damaged ({error}): train anew") from None
    try:
        thing = _put_together(card["contents"], arrays, {c.__name__: c for c in (kind, *parts)})
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError(
            f"{folder} was written by jaxinv {card.get('jaxinv')} and is not what jaxinv {__version__} writes "
            f"({error}): train anew"
        ) from None
    return thing, card


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a folder says of itself.

    Raises:
        FolderError: the folder is not there, its card is damaged, or it is written in another format.
    """
    folder = Path(path)
    try:
        card = json.loads((folder / "card.json").read_text())
    except FileNotFoundError:
        raise FolderError(f"{folder} holds no trained network: it has no card.json") from None
    except (OSError, ValueError) as error:
        raise FolderError(f"{folder / 'card.json'} is damaged ({error}): train anew") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else None
        raise FolderError(f"{folder} is written in format {found}; jaxinv {__version__} reads {FORMAT}: train anew")
    return card


def _taken_apart(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """A tree that JSON can hold; the arrays go to `arrays` under their paths."""

    def inner(value: Any, name: Any) -> Any:
        return _taken_apart(value, f"{path}.{name}" if path else str(name), arrays)

    if isinstance(value, Network):
        names = []
        for name, array in value.arrays().items():
            names.append(name)
            arrays[f"{path}.{name.replace('/', '.')}"] = array
        return {"network": value.kind, "settings": dict(value.settings), "arrays": path}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        arrays[path] = np.asarray(value)
        return {"array": path}
    if isinstance(value, Mapping):
        return {"mapping": {str(key): inner(item, key) for key, item in value.items()}}
    if isinstance(value, tuple | list):
        return {"tuple": [inner(item, k) for k, item in enumerate(value)]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{path}: a {type(value).__name__} cannot be written")


def _put_together(tree: Any, arrays: Mapping[str, np.ndarray], classes: Mapping[str, type]) -> Any:
    if not isinstance(tree, dict):
        return tree

    def inner(tree: Any) -> Any:
        return _put_together(tree, arrays, classes)

    if "network" in tree:
        start = tree["arrays"] + "."
        own = {name[len(start) :].replace(".", "/"): x for name, x in arrays.items() if name.startswith(start)}
        return Network.restored(tree["network"], tree["settings"], own)
    if "class" in tree:
        kind = classes[tree["class"]]
        fields = {name: inner(item) for name, item in tree["fields"].items()}
        own = {field.name for field in dataclasses.fields(kind)}
        if own != fields.keys():
            raise ValueError(f"{tree['class']} has no {sorted(own ^ fields.keys())[0]!r}")
        if issubclass(kind, eqx.Module) and kind.__init__ is not eqx.Module.__init__:
            made = object.__new__(kind)
            for name, value in fields.items():
                object.__setattr__(made, name, value)
            return made
        return kind(**fields)
    if "array" in tree:
        return arrays[tree["array"]]
    if "mapping" in tree:
        return {name: inner(item) for name, item in tree["mapping"].items()}
    return tuple(inner(item) for item in tree["tuple"])


def described(forward: Forward, shape: Sequence[int]) -> dict[str, Any]:
    """A forward model for the card: class, parameters, shape of the prediction, a digest of all that it holds."""
    return {
        "class": type(forward).__name__,
        "units": dict(forward.units),
        "shape": list(shape),
        "digest": fingerprint(forward),
    }


def described_problem(problem: Problem, shape: Sequence[int]) -> dict[str, Any]:
    """A problem for the card: forward model and shape of its prediction, prior, and sigma where the noise has one."""
    card = {"forward": described(problem.forward, shape), "prior": described_prior(problem.prior)}
    if problem.noise.sigma is not None:
        card["sigma"] = np.asarray(problem.noise.sigma).tolist()
    return card


def check_forward(path: str | os.PathLike[str], card: Mapping[str, Any], forward: Forward) -> None:
    """Whether a forward model is the one that the card describes.

    Raises:
        FolderError: it is not; says what differs.
    """
    wanted = card["forward"]
    if type(forward).__name__ != wanted["class"] or dict(forward.units) != wanted["units"]:
        raise FolderError(
            f"{path} was trained for a {wanted['class']} of {', '.join(wanted['units'])}; the forward model is a "
            f"{type(forward).__name__} of {', '.join(forward.units)}"
        )
    if fingerprint(forward) != wanted["digest"]:
        raise FolderError(
            f"{path} was trained by jaxinv {card['jaxinv']} for a {wanted['class']} with other settings (lines, "
            "wavelengths, instrument) than this one has: train for it"
        )


def described_prior(prior: Prior) -> dict[str, Any]:
    """A prior for the card: for each name a distribution with its arguments, or a value."""
    out: dict[str, Any] = {}
    for name, entry in prior.items():
        if isinstance(entry, Tied):
            out[name] = {"tied": list(entry.of)}
        elif hasattr(entry, "arg_constraints"):
            arguments = {key: np.asarray(getattr(entry, key)).tolist() for key in entry.arg_constraints}
            out[name] = {"distribution": type(entry).__name__, **arguments}
        else:
            out[name] = np.asarray(entry).tolist()
    return out


def fingerprint(thing: Any) -> str:
    """A digest of everything that a module holds; the same on every machine."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            digest.update(type(value).__name__.encode())
            for field in dataclasses.fields(value):
                digest.update(field.name.encode())
                add(getattr(value, field.name))
        elif isinstance(value, Mapping):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            digest.update(str(len(value)).encode())
            for item in value:
                add(item)
        elif isinstance(value, np.ndarray | np.generic | jax.Array):
            array = np.asarray(value)
            digest.update(str(array.shape).encode())
            # To nine digits, which the rounding of another machine leaves alike.
            digest.update(" ".join(f"{x:.9g}" for x in array.ravel().tolist()).encode())
        elif callable(value):
            digest.update(getattr(value, "__qualname__", type(value).__name__).encode())
        else:
            digest.update(repr(value).encode())

    add(thing)
    return digest.hexdigest()[:16]
