from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxinv as ji
from jaxinv.networks import Network
from jaxinv.training import Checkpoints, Training, TrainingError, train
from tests.models import Decay, interrupted_after

KEY = jax.random.key(0)
SHORT = Training(steps=60, batch_size=16, learning_rate=1e-2, evaluate=20, n_validation=64)


def network() -> Network:
    return Network.new("mlp", {"n_in": 1, "n_out": 1, "width": 16, "depth": 2})


def draw(context, key):
    x = jax.random.uniform(key, (1,), minval=-2, maxval=2)
    return x, jnp.sin(context * x)


def loss(network, context, examples):
    x, y = examples
    value = jnp.mean((jax.vmap(network)(x) - y) ** 2)
    return value, {"square": value}


def learn(settings=SHORT, **more):
    return train(network(), loss, draw, jnp.array(1.5), settings, key=KEY, progress=False, **more)


def test_it_learns_and_says_how() -> None:
    settings = Training(steps=1500, batch_size=64, learning_rate=1e-2, evaluate=100, n_validation=512)
    found = learn(settings)
    x = jnp.linspace(-1.9, 1.9, 50)[:, None]
    np.testing.assert_allclose(jax.vmap(found.network)(x), np.sin(1.5 * x), atol=0.03)
    assert found.curve.step.tolist() == list(range(100, 1501, 100))
    assert found.validation == pytest.approx(found.curve.validation.min())
    assert found.curve.validation[-1] < 0.01 * found.curve.validation[0]
    # The rate rises, then falls to a thousandth.
    np.testing.assert_allclose(found.curve.rate[-1], 1e-5, rtol=1e-3)


def test_patience_ends_it_and_the_best_weights_stay() -> None:
    def stuck(network, context, examples):
        value, terms = loss(network, context, examples)
        return value - jax.lax.stop_gradient(value) + 1.0, terms

    found = train(
        network(), stuck, draw, jnp.array(1.5), Training(steps=500, batch_size=8, evaluate=10, patience=3), key=KEY,
        progress=False,
    )  # fmt: skip
    assert found.stopped_early
    assert found.best_step == 10
    assert found.curve.step.tolist() == [10, 20, 30, 40]


def test_the_same_key_gives_the_same_network_and_another_one_another() -> None:
    one, again = learn(), learn()
    other = train(network(), loss, draw, jnp.array(1.5), SHORT, key=jax.random.key(1), progress=False)
    for a, b, c in zip(*(jax.tree.leaves(x.network) for x in (one, again, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_one_device_gives_what_two_give(monkeypatch: pytest.MonkeyPatch) -> None:
    two = learn()
    assert len(jax.devices()) == 2
    only = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: only)
    one = learn()
    for a, b in zip(jax.tree.leaves(one.network), jax.tree.leaves(two.network), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


class Stop(Exception):
    pass


class StopsAt(Checkpoints):
    """Interrupted right after a checkpoint."""

    at = 40

    def save(self, step, state) -> None:
        super().save(step, state)
        if step == self.at:
            raise Stop


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = learn(keeper=Checkpoints(tmp_path / "whole", {"config": "a"}))
    broken = StopsAt(tmp_path / "broken", {"config": "a"})
    with pytest.raises(Stop):
        learn(keeper=broken)
    broken.close()
    resumed = learn(keeper=Checkpoints(tmp_path / "broken", {"config": "a"}))
    for a, b in zip(jax.tree.leaves(whole.network), jax.tree.leaves(resumed.network), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(whole.curve, resumed.curve, strict=True):
        np.testing.assert_array_equal(a, b)
    # A finished one is not trained again.
    done = learn(keeper=Checkpoints(tmp_path / "broken", {"config": "a"}))
    np.testing.assert_array_equal(done.curve.loss, whole.curve.loss)


PRIOR = {"amplitude": dist.Uniform(0.5, 2.0), "rate": dist.Uniform(0.2, 3.0), "background": 0.0}
FEW = Training(steps=60, batch_size=8, evaluate=10, n_validation=8)


def emulated(keeper: Checkpoints) -> Any:
    method = ji.Emulator(settings={"width": 8, "depth": 1}, n_report=100)
    return ji.emulate(Decay(), PRIOR, method, FEW, key=KEY, keeper=keeper, progress=False).core.network


def density(keeper: Checkpoints) -> Any:
    problem = ji.Problem(Decay(), ji.noise.Gaussian(0.1), PRIOR)
    method = ji.NormalizingFlow(width=8, depth=1, layers=2, examples=100)
    found = ji.amortize(problem, method, FEW, key=KEY, keeper=keeper, progress=False)
    return found.network


@pytest.mark.parametrize(("teach", "part", "step"), [(emulated, "round_1", 10), (density, "parts", 10)])
def test_a_surrogate_and_a_density_too(teach: Any, part: str, step: int, tmp_path: Path, monkeypatch) -> None:
    whole = teach(Checkpoints(tmp_path / "whole", {}))
    interrupted_after(part, step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        teach(Checkpoints(tmp_path / "parts", {}))
    resumed = teach(Checkpoints(tmp_path / "parts", {}))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_run_and_a_damaged_checkpoint_are_refused(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path / "run", {"config": "a", "version": "1"})
    learn(keeper=keeper)
    keeper.close()
    with pytest.raises(ValueError, match="another config: repeat that command"):
        Checkpoints(tmp_path / "run", {"config": "b", "version": "1"})
    with pytest.raises(ValueError, match="damaged or of another network"):
        train(
            Network.new("mlp", {"n_in": 1, "n_out": 1, "width": 9}), loss, draw, jnp.array(1.5), SHORT, key=KEY,
            progress=False, keeper=Checkpoints(tmp_path / "run", {"config": "a", "version": "1"}),
        )  # fmt: skip
    files = [p for p in (tmp_path / "run" / "checkpoints").rglob("*") if p.is_file()]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged") as error:
        learn(keeper=Checkpoints(tmp_path / "run", {"config": "a", "version": "1"}))
    assert "\n" not in str(error.value)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        Checkpoints(tmp_path / "run", {"config": "a"})


def test_tensorboard_reads_the_log(tmp_path: Path) -> None:
    keeper = Checkpoints(tmp_path / "run", {})
    found = learn(keeper=keeper)
    keeper.close()
    from tensorboardX.proto import event_pb2  # the format's own definition
    from tensorboardX.record_writer import RecordWriter  # noqa: F401

    values = {}
    for file in sorted((tmp_path / "run" / "log").glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                values.setdefault(value.tag, {})[event.step] = value.simple_value
    np.testing.assert_allclose(list(values["loss"].values()), found.curve.loss, rtol=1e-6)
    assert list(values["validation"]) == [20, 40, 60]
    assert {"learning_rate", "validation/square"} <= values.keys()


def test_a_loss_that_is_no_number_ends_it() -> None:
    with pytest.raises(TrainingError, match="lower `learning_rate`"):
        train(network(), lambda n, c, e: (loss(n, c, e)[0] * jnp.nan, {}), draw, jnp.array(1.0), SHORT, key=KEY,
              progress=False)  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"learning_rate": 0.0}, {"learning_rate": np.inf}, {"warmup": 1.0}, {"clip": 0.0}, {"patience": 0}],
)
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Training(**bad)


def test_only_weights_are_decayed_not_biases() -> None:
    settings = Training(steps=1, batch_size=4, learning_rate=1e-3, warmup=0.0, weight_decay=100.0)
    before = network()
    flat = lambda n, c, e: (0.0 * loss(n, c, e)[0], {})  # noqa: E731
    after = train(before, flat, draw, jnp.array(1.0), settings, key=KEY, progress=False).network
    for name, old in before.arrays().items():
        new = after.arrays()[name]
        factor = 1.0 if old.ndim == 1 else 0.9
        np.testing.assert_allclose(new, factor * old, rtol=1e-5)
    assert eqx.tree_equal(before.graph, after.graph)
