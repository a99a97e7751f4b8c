"""Two results of `jaxinv sample` for the same pixels. `python benchmarks/two_posteriors.py auto.fits hmc.fits`."""

from __future__ import annotations

import argparse

import numpy as np

from jaxinv import io
from jaxinv.results.posterior import PosteriorRoute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", help="say, by --method auto")
    parser.add_argument("reference", help="say, by --method hmc")
    arguments = parser.parse_args()
    ours, theirs = (io.read_product(path) for path in (arguments.result, arguments.reference))
    route = ours.scalars["route"].ravel()
    counts = {each.name.lower(): int(np.sum(route == each)) for each in PosteriorRoute}
    print("pixels", route.size, "by", {name: n for name, n in counts.items() if n})
    for which, maps in (("result", ours), ("reference", theirs)):
        print(f"converged in the {which}: {int(np.sum(maps.status == 0))}")
    chains = route == PosteriorRoute.CHAINS
    print(f"{'':<18}{'widths within 10 %':>20}{'of chains':>12}{'medians off, in standard deviations: 50 %, 90 %':>52}")
    for name in ours.median:
        wide, narrow = ((m.upper[name] - m.lower[name]).ravel() for m in (ours, theirs))
        near = np.abs(wide / narrow - 1) < 0.1
        off = (ours.median[name] - theirs.median[name]).ravel()
        if name == "azimuth":
            off = (off + 90) % 180 - 90
        off = np.percentile(2 * np.abs(off) / narrow, [50, 90])
        shares = f"{100 * near.mean():>18.1f} %{100 * near[chains].mean():>10.0f} %"
        print(f"{name:<18}{shares}{off[0]:>40.3f}{off[1]:>12.3f}")


if __name__ == "__main__":
    main()
