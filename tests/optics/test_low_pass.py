"""The filter of Loefdahl & Scharmer: what is above the noise passes, noise does not."""

import numpy as np

from jaxinv.optics.low_pass import low_pass


def test_what_exceeds_the_noise_passes() -> None:
    n, generator = 32, np.random.default_rng(0)
    white = lambda: np.fft.rfft2(generator.normal(size=(n, n)), norm="ortho")  # noqa: E731
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n))
    transfer = np.stack([1 - frequency, np.exp(-3 * frequency)]) * np.where(frequency < 0.2, 100, 1e-3)
    truth = white()
    values = transfer * truth + np.stack([white(), white()])
    found = low_pass(transfer, values)
    strong = frequency < 0.15
    np.testing.assert_allclose(found[strong], truth[strong], atol=0.1)
    assert np.abs(found[frequency > 0.35]).max() == 0
    # An island of signal far out is not connected with the middle.
    transfer[:, 14:18, 14:] = 100
    values = transfer * truth + np.stack([white(), white()])
    assert np.abs(low_pass(transfer, values)[16, 16]) == 0


def test_noise_alone_gives_nothing() -> None:
    generator = np.random.default_rng(1)
    noise = np.fft.rfft2(generator.normal(size=(4, 32, 32)), norm="ortho")
    found = low_pass(np.full(noise.shape, 1e-3 + 0j), noise)
    assert np.mean(np.abs(found) > 0) < 0.1
