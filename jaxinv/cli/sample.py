"""`jaxinv sample`: from Stokes spectra on disk to posteriors on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from jaxinv.cli.inputs import Config, FileOptions, Observation, inputs_of, pipeline_part
from jaxinv.cli.job import AS_USUAL, Job, Running, is_zarr, products, status_line
from jaxinv.cli.observed import observe
from jaxinv.cli.options import GROUPS, with_options
from jaxinv.cli.outputs import NoQuicklook, Quicklook, check_outputs, keep_inputs, picture_of
from jaxinv.pipelines.config import SampleConfig
from jaxinv.pipelines.options import OptionError, Text, option, options


@options
class SampleOptions(SampleConfig, FileOptions):
    """What the command takes: the pipeline's options, and files."""

    network: Text | None = option(
        None,
        "folder of a trained density, which `jaxinv train` writes with method: posterior (auto); default: the shipped "
        "one for the observation's lines, if there is one",
        "sampler",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network is not None and self.method != "auto":
            raise OptionError(f"the option 'network' goes with the method auto; found {self.method}")

    @property
    def pipeline(self) -> SampleConfig:
        """The part that the pipeline takes."""
        return pipeline_part(self, SampleConfig)


@with_options(SampleOptions)
def sample(
    observation: Observation,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="where the summaries go: OUT.fits or OUT.zarr")],
    config: Config = None,
    store: Annotated[
        Path | None, Parameter(help="keep the draws in this folder, DRAWS.zarr", group=GROUPS["output"])
    ] = None,
    quicklook: Quicklook = None,
    no_quicklook: NoQuicklook = False,
    running: Running = AS_USUAL,
    options: SampleOptions,
) -> int:
    """Draw from the posterior of every pixel: of a Milne-Eddington atmosphere, or of one with depth.

    It reads what `jaxinv invert` reads and takes its options. The result has, for each parameter, the median, the 16
    and 84 percent quantiles, R-hat and the effective sample size, and for each pixel divergences, a posterior
    predictive p-value and a status; as Zarr, or with --store, also the draws. ROUTE says how the draws of a pixel came
    about: by weights where they can be relied on, by chains elsewhere. An interrupted run is resumed by the same
    command.

        jaxinv sample cube.fits -o posterior.fits --region 10 30 40 60
        jaxinv sample cube.fits -o posterior.fits --method hmc --store draws.zarr --thin 10
    """
    picture = picture_of(output, quicklook, no_quicklook)
    from jaxinv.pipelines import PosteriorRun, load_density

    inputs = inputs_of(observation, config, options)
    if store is not None and is_zarr(output):
        raise OptionError(f"{output} holds the draws itself: leave --store out")
    check_outputs(output, picture, inputs=inputs, zarr=True)
    keep_inputs([store, output, picture], inputs)
    density = None if options.network is None else load_density(options.network)
    seen = observe(observation, options, config, [store, output, picture])
    draws = store is not None or is_zarr(output)
    job = Job(output, seen.depends(draws="kept" if draws else ""), running, picture=picture, kept=store)

    def plan() -> Any:
        run = PosteriorRun(seen.prepare(options.pipeline, running.say), density, keep_draws=draws)
        if run.density is not None:
            running.say(f"density     {Path(run.density.path).name}")
        return run

    job.do(plan, products(), origin=seen.origin, summary=_summary)
    return 0


def _summary(maps: Any) -> Iterator[str]:
    import numpy as np

    from jaxinv.results.posterior import PosteriorRoute

    yield status_line(maps)
    ways = {route.name.lower(): int(np.sum(maps.scalars["route"] == route)) for route in PosteriorRoute}
    yield f"route       {', '.join(f'{n} {name}' for name, n in ways.items() if n)}"
    chains = maps.scalars["route"] == PosteriorRoute.CHAINS
    if chains.any():
        worst = np.max(list(maps.r_hat.values()), axis=0)[chains]
        clean = np.mean((worst < 1.01) & (maps.scalars["divergences"][chains] == 0))
        yield f"chains      {100 * clean:.1f} % of these pixels have R-hat < 1.01 and no divergence"
    weighted = np.isin(maps.scalars["route"], (PosteriorRoute.WEIGHTED, PosteriorRoute.LEARNED))
    if weighted.any():
        good = np.mean(maps.scalars["pareto_k"][weighted] < 0.7)
        yield f"weights     {100 * good:.1f} % of these pixels have Pareto k < 0.7"
    least = np.min(list(maps.ess.values()), axis=0)
    least = least[np.isfinite(least)]
    typical = np.median(least) if least.size else np.nan
    yield f"effective   {typical:.0f} draws of the least certain parameter (median)"
    p_value = maps.scalars["p_value"]
    p_value = p_value[np.isfinite(p_value)]
    if p_value.size:
        low = 100 * np.mean(p_value < 0.01)
        yield f"misfit      p < 0.01 in {low:.1f} % of the pixels: there the noise or the model is not as stated"
