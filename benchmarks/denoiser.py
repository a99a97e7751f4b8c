"""The image network that comes with the package: how it is trained, and how well it denoises photographs.

    python benchmarks/denoiser.py train OUT      trains it anew (27 minutes on two cores beside other work)
    python benchmarks/denoiser.py [FOLDER]       its errors on photographs that it has never seen (needs scikit-image)

It learns from dead leaves alone, which are drawn as it learns: no photograph is in its training.
"""

from __future__ import annotations

import argparse
import sys
import time

import equinox as eqx
import jax
import numpy as np
from common import header

import jaxinv as ji
from jaxinv import imaging
from jaxinv.amortization import ImageEstimator
from jaxinv.pipelines.reconstruction import DENOISER
from jaxinv.training import Conditions, Training

SHAPE, SIGMA, RANGE = (64, 64), 0.1, (0.05, 4.0)
TRAINING = Training(
    steps=3200, batch_size=16, learning_rate=2e-3, average=0.01, evaluate=200, n_validation=256, patience=1000
)
PHOTOGRAPHS = ("camera", "astronaut", "chelsea", "coffee", "rocket", "coins", "moon", "hubble_deep_field", "brick")
LEVELS = (15, 25, 50)


def problem(sigma: float = SIGMA) -> ji.Problem:
    return ji.Problem(imaging.Mask(np.ones(SHAPE)), ji.noise.Gaussian(sigma), {"image": imaging.DeadLeaves(SHAPE)})


def train(path: str) -> None:
    begin = time.perf_counter()
    found = ji.amortize(
        problem(), ji.ImageEstimate(), TRAINING, key=jax.random.key(0), conditions=Conditions(noise=RANGE)
    )
    found.save(path, problem(), notes(time.perf_counter() - begin))


def notes(seconds: float) -> dict:
    """For the card."""
    return {
        "trained_on": "imaging.DeadLeaves((64, 64)) drawn as it learned; noise of 0.005 to 0.4, in equal ratios",
        "steps": TRAINING.steps,
        "command": "python benchmarks/denoiser.py train OUT",
        "seconds": round(seconds),
    }


def photographs() -> dict[str, np.ndarray]:
    from skimage import color, data

    out = {}
    for name in PHOTOGRAPHS:
        image = np.asarray(getattr(data, name)())
        image = color.rgb2gray(image) if image.ndim == 3 else image / 255
        out[name] = np.float32(image[:512, :512])
    return out


def decibels(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise of a range from 0 to 1."""
    return float(10 * np.log10(1 / np.mean((image - truth) ** 2)))


def measure(path: str) -> dict[str, list[float]]:
    """Of each photograph, at each level."""
    network = ImageEstimator.load(path).without_history()
    refine = eqx.filter_jit(lambda image, sigma: network.refine(image, sigma))
    out = {}
    for name, truth in photographs().items():
        out[name] = []
        for level in LEVELS:
            noisy = truth + np.float32(level / 255) * np.random.default_rng(0).normal(size=truth.shape)
            out[name].append(decibels(np.asarray(refine(np.float32(noisy), np.float32(level / 255))), truth))
    return out


def report(path: str) -> None:
    print(header())
    try:
        table = measure(path)
    except ImportError:
        sys.exit("the photographs are scikit-image's: pip install scikit-image")
    print(f"{'decibels at sigma / 255 of':<28}" + "".join(f"{level:>8}" for level in LEVELS))
    for name, row in table.items():
        print(f"{name:<28}" + "".join(f"{x:8.2f}" for x in row))
    print(f"{'mean':<28}" + "".join(f"{x:8.2f}" for x in np.mean(list(table.values()), 0)))
    network = ImageEstimator.load(path).without_history()
    image = np.zeros((512, 512), np.float32)
    refine = eqx.filter_jit(lambda image: network.refine(image, 0.1))
    jax.block_until_ready(refine(image))
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        jax.block_until_ready(refine(image))
        times.append(time.perf_counter() - begin)
    print(f"512 x 512 pixels in {1e3 * np.median(times):.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="train OUT, or the folder of a network")
    words = parser.parse_args().words
    if words[:1] == ["train"] and len(words) == 2:
        train(words[1])
    elif len(words) < 2 and words != ["train"]:
        report(words[0] if words else str(DENOISER))
    else:
        parser.error("say where the network goes: train OUT")
