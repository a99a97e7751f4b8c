"""The image network that comes with the package: how it is trained, and how well it denoises photographs.

python benchmarks/denoiser.py train OUT        trains it anew (27 minutes on two cores beside other work)
python benchmarks/denoiser.py train OUT local  trains a local network on the same images instead (20 minutes)
python benchmarks/denoiser.py [FOLDER]         its errors on dead leaves that it has not seen, and on photographs,
which nothing in its training is like (needs scikit-image)
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
LOCAL = ji.ImageEstimate(network="local", width=128, pixels=256, examples=4096)
LOCAL_TRAINING = Training(
    steps=10000, batch_size=32, learning_rate=2e-3, average=0.01, evaluate=200, n_validation=256, patience=1000
)
PHOTOGRAPHS = ("camera", "astronaut", "chelsea", "coffee", "rocket", "coins", "moon", "hubble_deep_field", "brick")
LEVELS = (15, 25, 50)
LEAVES = "dead leaves"


def problem(sigma: float = SIGMA) -> ji.Problem:
    return ji.Problem(imaging.Mask(np.ones(SHAPE)), ji.noise.Gaussian(sigma), {"image": imaging.DeadLeaves(SHAPE)})


def train(path: str, local: bool) -> None:
    begin = time.perf_counter()
    method, training = (LOCAL, LOCAL_TRAINING) if local else (ji.ImageEstimate(), TRAINING)
    found = ji.amortize(
        problem(), method, training, key=jax.random.key(0), conditions=Conditions(noise=RANGE), progress=True
    )
    found.save(path, problem(), notes(local, training.steps, time.perf_counter() - begin))


def notes(local: bool, steps: int, seconds: float) -> dict:
    """For the card."""
    drawn = f"{LOCAL.examples} of them" if local else "drawn as it learned"
    return {
        "trained_on": f"imaging.DeadLeaves((64, 64)), {drawn}; noise of 0.005 to 0.4, in equal ratios",
        "steps": steps,
        "command": "python benchmarks/denoiser.py train OUT" + local * " local",
        "seconds": round(seconds),
    }


def images() -> dict[str, np.ndarray]:
    """Dead leaves of other keys than the training's, and photographs."""
    from skimage import color, data

    leaves = jax.jit(imaging.DeadLeaves((256, 256)).sample)
    out = {f"{LEAVES} {k + 1}": np.asarray(leaves(jax.random.key(1000 + k))) for k in range(8)}
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
    for name, truth in images().items():
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
    for what, like in (("mean of dead leaves", True), ("mean of photographs", False)):
        rows = [row for name, row in table.items() if name.startswith(LEAVES) == like]
        print(f"{what:<28}" + "".join(f"{x:8.2f}" for x in np.mean(rows, 0)))
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
    parser.add_argument("words", nargs="*", help="train OUT [local], or the folder of a network")
    words = parser.parse_args().words
    if words[:1] == ["train"] and (len(words) == 2 or words[2:] == ["local"]):
        train(words[1], len(words) == 3)
    elif len(words) < 2 and words != ["train"]:
        report(words[0] if words else str(DENOISER))
    else:
        parser.error("say where the network goes: train OUT")
