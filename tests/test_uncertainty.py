"""Intervals, standard deviations and quantiles."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmtl import MultiTaskNetRegressor
from skmtl._uncertainty import Calibration
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.loss import Quantile

from .instances import exact, row_task_data


def fast(**changes):
    settings = {
        "architecture": HardSharing((8,)),
        "encoding": Standard(),
        "n_estimators": 2,
        "max_epochs": 20,
        "lr": 0.02,
        "batch_size": 64,
        "random_state": 0,
        "device": "cpu",
    }
    return MultiTaskNetRegressor(**settings | changes)


def noisy(n_samples, seed, *, missing=0.0):
    """Draw two tasks; the noise of the second grows with the first feature."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    y = np.column_stack([X[:, 0] + X[:, 1] ** 2, 10 * X[:, 2]])
    noise = np.column_stack([np.full(n_samples, 0.5), 0.5 + 3 * np.abs(X[:, 0])])
    y = y + noise * rng.normal(size=y.shape)
    hidden = rng.random(y.shape) < missing
    hidden[np.arange(n_samples), rng.integers(2, size=n_samples)] = False
    return X, np.where(hidden, np.nan, y)


@pytest.fixture(scope="module")
def calibrated():
    X, y = noisy(400, 0, missing=0.3)
    return fast(n_estimators=8, calibration_size=0.25).fit(X, y), X, y


def inside(interval, y):
    return (interval[..., 0] <= y) & (y <= interval[..., 1])


# -- intervals -------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_intervals_cover_what_they_promise(missing):
    covered = []
    for seed in range(20):
        X, y = noisy(400, seed, missing=missing)
        model = fast(calibration_size=0.25, max_epochs=5, random_state=seed).fit(X, y)
        X, y = noisy(4000, 1000 + seed)
        covered.append(inside(model.predict_interval(X, 0.9), y).mean(axis=0))
    np.testing.assert_allclose(np.mean(covered, axis=0), 0.9, rtol=0, atol=0.02)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_the_half_width_is_an_order_statistic_of_errors_on_rows_set_aside(
    calibrated, coverage
):
    model, X, y = calibrated
    aside = np.isnan(model.validation_prediction_).any(axis=1)
    assert aside.sum() == 100
    interval = model.predict_interval(X, coverage)
    assert interval.shape == (400, 2, 2)
    errors = np.abs(y - model.predict(X))[aside]
    for j in range(2):
        own = np.sort(errors[~np.isnan(errors[:, j]), j])
        rank = int(np.ceil(coverage * (len(own) + 1) - 1e-9))
        half = np.diff(interval[:, j])[:, 0] / 2
        np.testing.assert_allclose(half, own[rank - 1], rtol=1e-9)
        np.testing.assert_allclose(interval[:, j].mean(1), model.predict(X)[:, j])


def test_intervals_grow_with_their_coverage(calibrated):
    model, X, _ = calibrated
    widths = [
        np.diff(model.predict_interval(X[:1], coverage))[0, 0, 0]
        for coverage in (0.1, 0.5, 0.8, 0.95)
    ]
    assert (np.diff(widths) > 0).all()


RANKS = [
    (9, 0.9, 9.0),  # ceil(10 * 0.9) = 9, which rounding must not make a 10
    (10, 0.9, 10.0),  # ceil(11 * 0.9) = 10
    (9, 0.8, 8.0),
    (9, 0.5, 5.0),
    (10, 0.5, 6.0),
    (19, 0.95, 19.0),
]


@pytest.mark.parametrize(("n_errors", "coverage", "expected"), RANKS)
def test_ranks_by_hand(n_errors, coverage, expected):
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n_errors + 1))
    with_missing = np.append(errors, [np.nan, np.nan])[:, None]
    for column in (errors[:, None], with_missing):
        calibration = Calibration(column, None, ["a"])
        assert calibration.half_width(coverage, None).tolist() == [[expected]]


def test_too_few_labels_give_an_infinite_interval_and_a_warning():
    errors = np.column_stack([np.arange(9.0), np.append(np.arange(8.0), np.nan)])
    calibration = Calibration(errors, None, ["a", "b"])
    with pytest.warns(UserWarning, match="Task 'b' has fewer than .* its interval is"):
        half = calibration.half_width(0.9, None)
    assert half.tolist() == [[8.0, np.inf]]
    assert np.isfinite(calibration.half_width(0.8, None)).all()


def test_the_warning_names_the_number_of_labels_that_are_enough():
    calibration = Calibration(np.arange(8.0)[:, None], None, ["a"])
    with pytest.warns(UserWarning, match="Task 'a' has fewer than 9 calibration"):
        calibration.half_width(0.9, None)


def test_the_warning_points_at_the_caller():
    X, y = noisy(40, 0)
    model = fast(calibration_size=0.2, max_epochs=2).fit(X, y)
    with pytest.warns(UserWarning, match="fewer than .* calibration labels") as record:
        interval = model.predict_interval(X, 0.9)
    assert np.isinf(interval).all()
    assert [warning.filename for warning in record] == [__file__]
    assert np.isfinite(model.predict_interval(X, 0.8)).all()


def test_the_number_of_rows_set_aside():
    X, y = noisy(400, 0)
    for size, expected in ((0.1, 40), (0.25, 100), (1 / 3, 134), (0.5, 200)):
        model = fast(calibration_size=size, n_estimators=8, max_epochs=1).fit(X, y)
        aside = np.isnan(model.validation_prediction_).all(axis=1).sum()
        assert abs(aside - expected) <= 1


def test_no_network_sees_the_rows_set_aside(calibrated):
    model, X, y = calibrated
    aside = np.isnan(model.validation_prediction_).any(axis=1)
    spoilt_X, spoilt_y = X.copy(), y.copy()
    spoilt_X[aside] *= 100
    spoilt_y[aside] *= -100
    other = clone(model).fit(spoilt_X, spoilt_y)
    np.testing.assert_array_equal(
        np.isnan(other.validation_prediction_).any(axis=1), aside
    )
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    wider = np.diff(other.predict_interval(X)) / np.diff(model.predict_interval(X))
    assert (wider > 10).all()


def test_intervals_work_without_early_stopping_and_in_units_of_the_label():
    X, y = noisy(400, 0)
    model = fast(calibration_size=0.25, early_stopping=False, batch_size=None)
    interval = clone(model).fit(X, y[:, 0]).predict_interval(X)
    assert interval.shape == (400, 2)
    stretched = clone(model).fit(X, 1000 * y[:, 0] + 5).predict_interval(X)
    np.testing.assert_allclose(stretched, 1000 * interval + 5, rtol=1e-3)
    scaled = clone(model).set_params(target_transform=StandardScaler())
    scaled = scaled.fit(X, y[:, 0]).predict_interval(X)
    np.testing.assert_allclose(scaled, interval, rtol=1e-3, atol=1e-3)


# -- row tasks -------------------------------------------------------------------


def groups(n_samples, seed):
    """Draw three groups whose noises differ, and one with few rows."""
    rng = np.random.default_rng(seed)
    task = rng.choice(4, size=n_samples, p=[0.32, 0.32, 0.32, 0.04])
    X = rng.normal(size=(n_samples, 2))
    noise = np.array([0.1, 1.0, 4.0, 1.0])[task]
    return X, X[:, 0] + task + noise * rng.normal(size=n_samples), task


def test_intervals_of_row_tasks_go_by_group():
    covered, wide = [], []
    for seed in range(6):
        X, y, task = groups(400, seed)
        model = fast(calibration_size=0.25, max_epochs=10).fit(X, y, task=task)
        X, y, task = groups(4000, 100 + seed)
        interval = model.predict_interval(X, 0.8, task=task)
        ok = inside(interval, y)
        covered.append([ok[task == t].mean() for t in range(3)])
        width = np.diff(interval)[:, 0]
        wide.append([np.unique(width[task == t].round(9)) for t in range(4)])
    np.testing.assert_allclose(np.mean(covered, axis=0), 0.8, rtol=0, atol=0.06)
    for widths in wide:
        assert all(len(width) == 1 for width in widths)  # one width a group
        assert widths[0] < widths[1] < widths[2]


def test_a_group_with_few_labels_and_an_unknown_one_take_all_errors():
    X, y, task = groups(400, 0)
    model = fast(calibration_size=0.25, max_epochs=5).fit(X, y, task=task)
    widths = {
        t: np.diff(model.predict_interval(X[:1], 0.9, task=[t]))[0, 0] for t in range(4)
    }
    with pytest.warns(UserWarning, match="shared head"):
        unknown = np.diff(model.predict_interval(X[:1], 0.9, task=[99]))[0, 0]
    np.testing.assert_allclose(widths[3], unknown)
    assert widths[0] < widths[1] < unknown < widths[2]


# -- standard deviations ---------------------------------------------------------


@pytest.mark.parametrize("n_estimators", [1, 8])
def test_standard_deviations_are_the_held_out_rmse_on_average(n_estimators):
    X, y = noisy(1000, 1, missing=0.3)
    model = fast(n_estimators=n_estimators).fit(X, y)
    predicted, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(predicted, model.predict(X))
    assert std.shape == predicted.shape
    errors = y - model.validation_prediction_
    held_out = np.sqrt(np.nanmean(errors**2, axis=0))
    np.testing.assert_allclose(np.sqrt((std**2).mean(axis=0)), held_out, rtol=1e-9)
    if n_estimators == 1:
        assert (std == std[0]).all()
    X, y = noisy(4000, 2)
    predicted, std = model.predict(X, return_std=True)
    rmse = np.sqrt(((predicted - y) ** 2).mean(axis=0))
    # It speaks of members, and their mean is somewhat better.
    ratio = np.sqrt((std**2).mean(axis=0)) / rmse
    assert ((ratio > 0.7) & (ratio < 1.3)).all()


def test_standard_deviations_grow_away_from_the_data():
    X, y = noisy(400, 1)
    model = fast(n_estimators=8, encoding=Standard(clip=1e6)).fit(X, y)
    near = model.predict(X, return_std=True)[1].mean(axis=0)
    far = model.predict(10 * X, return_std=True)[1].mean(axis=0)
    assert (far > 1.5 * near).all()


def test_standard_deviations_have_the_shape_and_unit_of_y():
    X, y = noisy(200, 1)
    one = fast(max_epochs=5).fit(X, y[:, 0])
    _, std = one.predict(X, return_std=True)
    assert std.shape == (200,)
    _, wide = clone(one).fit(X, 100 * y[:, 0]).predict(X, return_std=True)
    np.testing.assert_allclose(wide, 100 * std, rtol=1e-3)
    X, y, task = row_task_data()
    _, std = (
        fast(max_epochs=5).fit(X, y, task=task).predict(X, task=task, return_std=True)
    )
    assert std.shape == y.shape
    assert (std > 0).all()


# -- quantiles -------------------------------------------------------------------


def test_quantiles_cover_their_levels_and_ascend():
    levels = [0.9, 0.1, 0.5]
    X, y = noisy(1000, 3)
    model = fast(
        loss=Quantile(levels), architecture=HardSharing((16,)), max_epochs=60
    ).fit(X, y)
    X, y = noisy(4000, 4)
    quantiles = model.predict_quantiles(X)
    assert quantiles.shape == (4000, 2, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    below = (y[..., None] <= quantiles).mean(axis=0)
    np.testing.assert_allclose(below, [[0.1, 0.5, 0.9]] * 2, rtol=0, atol=0.06)
    np.testing.assert_array_equal(model.predict(X), quantiles[..., 1])
    # Unlike split-conformal intervals they follow the noise of the second task.
    width = quantiles[:, 1, 2] - quantiles[:, 1, 0]
    loud, quiet = np.abs(X[:, 0]) > 1.2, np.abs(X[:, 0]) < 0.3
    assert width[loud].mean() > 1.3 * width[quiet].mean()


def test_quantiles_have_the_shape_of_y_and_pass_the_transform():
    X, y = noisy(200, 3)
    model = fast(loss=Quantile([0.2, 0.8]), max_epochs=5).fit(X, y[:, 0])
    assert model.predict_quantiles(X).shape == (200, 2)
    single = fast(loss="quantile", max_epochs=5).fit(X, y)
    assert single.predict_quantiles(X).shape == (200, 2, 1)
    np.testing.assert_array_equal(
        single.predict_quantiles(X)[..., 0], single.predict(X)
    )
    logs = fast(loss=Quantile([0.2, 0.8]), target_transform="log1p", max_epochs=5)
    logs.fit(X, np.exp(y[:, 0]))
    by_hand = clone(logs).set_params(target_transform=None)
    by_hand.fit(X, np.log1p(np.exp(y[:, 0])))
    np.testing.assert_allclose(
        logs.predict_quantiles(X), np.expm1(by_hand.predict_quantiles(X)), rtol=1e-9
    )


def test_quantiles_refuse_a_transform_that_falls():
    X, y = noisy(200, 3)
    falling = FunctionTransformer(np.negative, np.negative)
    model = fast(loss=Quantile([0.1, 0.5, 0.9]), target_transform=falling)
    with pytest.raises(ValueError, match="task 0 does not ascend with the labels"):
        model.fit(X, y[:, 0])


def test_errors_say_what_is_missing(calibrated):
    model, X, y = calibrated
    plain = fast(max_epochs=1, early_stopping=False).fit(X, y)
    with pytest.raises(ValueError, match="fitted with early_stopping=False"):
        plain.predict(X, return_std=True)
    with pytest.raises(ValueError, match=r"Fit it with calibration_size=0\.2"):
        plain.predict_interval(X)
    with pytest.raises(ValueError, match="needs loss=Quantile"):
        plain.predict_quantiles(X)
    for coverage in (0, 1, 1.5, -0.1):
        with pytest.raises(ValueError, match="must be between 0 and 1"):
            model.predict_interval(X, coverage)
    for other in (model.adapt(X, y[:, 0]), model.estimators_[0]):
        with pytest.raises(ValueError, match="an adapted estimator or a member"):
            other.predict_interval(X)
        with pytest.raises(ValueError, match="adapted or a member"):
            other.predict(X, return_std=True)
    for size in (0, 0.6, -1):
        with pytest.raises(ValueError, match="'calibration_size' parameter of"):
            fast(calibration_size=size).fit(X, y)
    levels = fast(loss=[Quantile([0.1, 0.9]), Quantile()], max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"different numbers of quantile levels: \[2"):
        levels.predict_quantiles(X)


def test_intervals_and_deviations_survive_pickling(calibrated):
    model, X, _ = calibrated
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))
    for left, right in zip(
        again.predict(X, return_std=True),
        model.predict(X, return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)


def test_the_rows_set_aside_are_drawn_by_the_seed():
    X, y = noisy(60, 0)

    def aside(seed):
        model = fast(calibration_size=0.25, n_estimators=8, max_epochs=1)
        model.set_params(random_state=seed).fit(X, y)
        return np.isnan(model.validation_prediction_).any(axis=1)

    np.testing.assert_array_equal(aside(0), aside(0))
    assert (aside(0) != aside(1)).any()


def test_a_fit_that_sets_nothing_aside_has_no_intervals_of_an_earlier_one():
    X, y = noisy(60, 0)
    model = exact("regressor", calibration_size=0.5, max_epochs=1).fit(X, y)
    assert model.predict_interval(X).shape == (60, 2, 2)
    model.set_params(calibration_size=None).fit(X, y)
    with pytest.raises(ValueError, match="set no rows aside"):
        model.predict_interval(X)
