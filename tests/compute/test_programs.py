"""Programs are the same in every process, so that those that the command keeps are found again."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import jax, numpyro.distributions as dist
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
import jaxinv as ji
from jaxinv.unrolling import Unrolled
from jaxinv.unrolling.loop import Loop
from jaxinv.unrolling.training import n_signals
from tests.models import Decay

prior = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 4.0), "background": dist.Uniform(-1.0, 1.0)}
problem = ji.Problem(Decay(), ji.noise.Gaussian(0.03), prior)
truth, data = problem.simulate(jax.random.key(0), (4,))
ji.fit(problem, data, initial=truth)
settings, solver = ji.LearnedSteps(width=4), ji.LevenbergMarquardt()
loop = Loop.new(settings, n_signals(problem, solver, ji.Conditions()), 3, jax.random.key(0))
answer = Unrolled(loop, solver, None, problem.names)(problem, data)
ji.assure(problem, answer, data, chi2=0.0)
"""


def test_a_second_process_finds_all_programs_of_the_first(tmp_path: Path) -> None:
    kept = []
    for seed in ("1", "6"):  # with which Python goes through a set of names in other orders
        own = {**os.environ, "PYTHONHASHSEED": seed, "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=own, cwd=Path(__file__).parents[2])
        kept.append({path.name for path in tmp_path.glob("*-cache")})
    assert len(kept[0]) > 3
    assert kept[1] == kept[0]
