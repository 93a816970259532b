"""The conformal guarantee, and what threshold and p-value have to do with each other."""

import numpy as np
import pytest

from gannext.runtime import Calibration, InputError


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("count", [19, 50, 400])
def test_false_alarms_stay_at_the_rate_over_many_splits(fpr: float, count: int) -> None:
    """Over 3,000 random splits of skewed scores with ties, the mean false-positive rate is at most the promised one."""
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(3000):
        scores = np.round(rng.lognormal(size=count + 40), 2)
        calibration = Calibration(tuple(scores[:count]), fpr)
        rates.append(calibration.is_abnormal(scores[count:]).mean())
    promised = Calibration(tuple(range(count)), fpr).effective_fpr
    noise = 4 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= promised + noise
    assert np.mean(rates) >= 0.5 * promised - 1 / (count + 1)  # and the threshold is no more cautious than it must be


def test_verdict_and_p_value_agree() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        held_out = np.round(rng.normal(size=rng.integers(5, 60)), 1)
        calibration = Calibration(tuple(held_out), float(rng.uniform(0.02, 0.6)))
        scores = np.concatenate((held_out, np.round(rng.normal(size=50), 1)))
        by_p = calibration.p_values(scores) <= calibration.effective_fpr + 1e-12
        assert np.array_equal(by_p, calibration.is_abnormal(scores))


def test_p_value_is_the_formula() -> None:
    calibration = Calibration((1.0, 2.0, 2.0, 5.0))
    assert calibration.p_values([0, 2, 3, 5, 6]) == pytest.approx([5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5])


def test_too_few_held_out_images_are_said_so() -> None:
    calibration = Calibration(tuple(range(10)), 0.05)
    assert "19" in str(calibration.shortfall) and calibration.effective_fpr == pytest.approx(1 / 11)
    assert Calibration(tuple(range(19)), 0.05).shortfall is None


@pytest.mark.parametrize(("scores", "fpr"), [((), 0.05), ((1.0, float("nan")), 0.05), ((1.0,), 0.0), ((1.0,), 1.0)])
def test_impossible_calibrations_are_refused(scores: tuple[float, ...], fpr: float) -> None:
    with pytest.raises(InputError):
        Calibration(scores, fpr)
