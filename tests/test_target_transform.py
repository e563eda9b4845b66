"""Labels that are transformed inside."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import (
    FunctionTransformer,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)

from skmtl import MixedTaskNet, MultiTaskNetRegressor
from skmtl._tasks._transforms import LabelTransform

from .instances import exact, frozen, missing, row_task_data, small

TRANSFORMS = ["log1p", "quantile", PowerTransformer(), StandardScaler()]


def skewed(n_samples=60, n_tasks=2, *, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    mix = np.random.default_rng(100).normal(size=(3, n_tasks))
    return frozen(X, np.exp(1 + X @ mix + 0.1 * rng.normal(size=(n_samples, n_tasks))))


@pytest.fixture(scope="module")
def fitted():
    X, y = skewed()
    return exact("regressor", target_transform="log1p").fit(X, y)


# -- the transform alone ---------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_inverse_undoes_the_transform_and_missing_stays_missing(transform, share):
    labels = missing(skewed()[1], share)[:, 0]
    fitted = LabelTransform("a", transform).fit(labels)
    made = fitted.forward(labels)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(labels))
    np.testing.assert_allclose(fitted.inverse(made), labels, rtol=1e-7)
    known = ~np.isnan(labels)
    without = LabelTransform("a", transform).fit(labels[known])
    np.testing.assert_array_equal(without.forward(labels[known]), made[known])
    cube = np.stack([made, made], axis=1)[:, :, None]
    assert fitted.inverse(cube).shape == cube.shape
    nothing = np.full(3, np.nan)
    np.testing.assert_array_equal(fitted.inverse(nothing), nothing)


def test_log1p_is_the_log_of_one_more():
    labels = np.array([0.0, -0.5, 3.0, np.nan])
    made = LabelTransform("a", "log1p").fit(labels).forward(labels)
    np.testing.assert_allclose(made, np.log([1.0, 0.5, 4.0, np.nan]))


def test_quantile_gives_normal_scores():
    labels = skewed(500)[1][:, 0]
    made = LabelTransform("a", "quantile").fit(labels).forward(labels)
    assert (np.argsort(made) == np.argsort(labels)).all()
    np.testing.assert_allclose(np.quantile(made, [0.1, 0.5]), [-1.28, 0], atol=0.03)


# -- inside an estimator ---------------------------------------------------------


def test_log1p_inside_equals_log1p_by_hand(fitted):
    X, y = skewed()
    by_hand = exact("regressor").fit(X, np.log1p(y))
    np.testing.assert_allclose(
        fitted.predict(X), np.expm1(by_hand.predict(X)), rtol=1e-9
    )
    ensemble = {"early_stopping": True, "n_estimators": 3, "max_epochs": 5}
    inside = exact("regressor", target_transform="log1p", **ensemble).fit(X, y)
    by_hand = exact("regressor", **ensemble).fit(X, np.log1p(y))
    for found, expected in (
        (inside.predict(X), by_hand.predict(X)),
        (inside.validation_prediction_, by_hand.validation_prediction_),
    ):
        np.testing.assert_allclose(found, np.expm1(expected), rtol=1e-9)


@pytest.mark.parametrize(
    "transformer",
    [
        FunctionTransformer(np.log1p, np.expm1),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=30, output_distribution="normal"),
    ],
    ids=str,
)
def test_a_transformer_equals_that_of_scikit_learn_on_one_complete_column(transformer):
    X, y = skewed(n_tasks=1)
    inside = exact("regressor", target_transform=transformer).fit(X, y[:, 0])
    around = TransformedTargetRegressor(
        exact("regressor"), transformer=transformer, check_inverse=False
    )
    expected = around.fit(X, y[:, 0]).predict(X)
    np.testing.assert_allclose(inside.predict(X), expected, rtol=1e-9)
    assert not hasattr(transformer, "n_features_in_")


def test_columns_are_transformed_each_in_its_own_way():
    X, y = skewed(n_tasks=3)
    y = pd.DataFrame(missing(y), columns=list("abc"))
    by_list = exact("regressor", target_transform=["log1p", None, StandardScaler()])
    by_name = {"c": StandardScaler(), "a": "log1p"}
    by_name = exact("regressor", target_transform=by_name)
    predicted = by_list.fit(X, y).predict(X)
    np.testing.assert_array_equal(by_name.fit(X, y).predict(X), predicted)
    by_hand = exact("regressor").fit(X, y.assign(a=np.log1p(y["a"]))).predict(X)
    np.testing.assert_allclose(np.log1p(predicted[:, 0]), by_hand[:, 0], rtol=1e-7)
    np.testing.assert_allclose(predicted[:, 1:], by_hand[:, 1:], rtol=1e-7)


@pytest.mark.parametrize("transform", ["log1p", "quantile"])
def test_missing_labels_equal_rows_left_out(transform):
    X, y = skewed(n_tasks=1)
    y = missing(y)
    known = ~np.isnan(y[:, 0])
    model = exact("regressor", target_transform=transform)
    masked = clone(model).fit(X, y).predict(X)
    without = clone(model).fit(X[known], y[known]).predict(X)
    np.testing.assert_allclose(masked, without, rtol=1e-9)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_every_transform_learns(transform):
    # Ranks, because the inverse may stretch the largest predictions without bounds.
    X, y = skewed(120)
    predicted = exact("regressor", target_transform=transform).fit(X, y).predict(X)
    for column, truth in zip(predicted.T, y.T, strict=True):
        assert spearmanr(column, truth).statistic > 0.7
    X, y, task = row_task_data()
    y = np.exp(y / 4)
    model = exact("regressor", target_transform=transform).fit(X, y, task=task)
    assert spearmanr(model.predict(X, task=task), y).statistic > 0.7


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_constant_labels_are_predicted(transform):
    X, y = skewed(20)
    y = np.column_stack([np.full(20, 7.0), y[:, 0]])
    model = exact("regressor", target_transform=transform, max_epochs=200).fit(X, y)
    np.testing.assert_allclose(model.predict(X)[:, 0], 7.0, rtol=0.05)


@pytest.mark.filterwarnings("ignore:Some values in column 0 of the inverse:UserWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in power")
def test_predictions_are_numbers_where_the_inverse_has_a_pole():
    """The power transform of skewed labels has a negative exponent, hence a bound."""
    X, y = skewed(200, n_tasks=1)
    model = exact("regressor", target_transform=PowerTransformer()).fit(X, y[:, 0])
    assert model.net_.blueprint.targets.transforms[0].transformer_.lambdas_ < 0
    assert not np.isnan(model.predict(X)).any()
    assert not np.isnan(model.predict(10 * X)).any()


def test_a_loss_looks_at_transformed_labels():
    X, y = skewed()
    shrunk = FunctionTransformer(np.log, np.exp)
    with pytest.raises(
        ValueError, match=r"Task 0 has labels .* after target_transform=Function"
    ):
        exact("regressor", loss="gamma", target_transform=shrunk).fit(X, y)
    model = exact("regressor", loss="gamma", target_transform="log1p", max_epochs=2)
    assert (model.fit(X, y).predict(X) > 0).all()


def test_mixed_tasks_transform_their_numbers_only():
    X, y = skewed()
    frame = pd.DataFrame({"a": y[:, 0], "b": np.where(y[:, 1] > 3, "high", "low")})
    model = MixedTaskNet(
        target_transform="log1p", n_estimators=1, max_epochs=2, device="cpu"
    ).fit(X, frame)
    assert (model.predict(X)["a"] > -1).all()
    model.set_params(target_transform={"b": "log1p"})
    with pytest.raises(ValueError, match="transforms task 'b', whose labels are class"):
        model.fit(X, frame)


# -- copies and adaptation -------------------------------------------------------


def test_fits_clone_and_pickle(fitted):
    X, _ = skewed()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    assert clone(fitted).target_transform == "log1p"
    transformer = PowerTransformer()
    model = small("regressor", target_transform=[transformer, None], max_epochs=2)
    copied = clone(model)
    assert copied.target_transform[0] is not transformer
    copied.fit(*skewed())
    again = pickle.loads(pickle.dumps(copied))
    np.testing.assert_array_equal(again.predict(X), copied.predict(X))


def test_a_new_group_is_transformed_as_the_others():
    X, y, task = row_task_data()
    y = np.exp(y / 4)
    model = exact("regressor", target_transform="log1p").fit(X, y, task=task)
    by_hand = exact("regressor").fit(X, np.log1p(y), task=task)
    np.testing.assert_allclose(
        model.adapt(X[:20], y[:20]).predict(X),
        np.expm1(by_hand.adapt(X[:20], np.log1p(y[:20])).predict(X)),
        rtol=1e-7,
    )


def test_a_new_column_is_transformed_as_the_others_where_they_agree(fitted):
    X, y = skewed()
    by_hand = exact("regressor").fit(X, np.log1p(y))
    np.testing.assert_allclose(
        fitted.adapt(X, y[:, 0]).predict(X),
        np.expm1(by_hand.adapt(X, np.log1p(y[:, 0])).predict(X)),
        rtol=1e-7,
    )


# -- bad input -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "error"),
    [
        ("log2", "The 'target_transform' parameter of MultiTaskNetRegressor must be"),
        (3, "The 'target_transform' parameter of MultiTaskNetRegressor must be"),
        ([None, "log2"], "target_transform='log2' for task 1 is not a transform; pass"),
        ({0: np.log}, "for task 0 is not a transform"),
        (["log1p"], "target_transform has 1 entries, but there are 2 tasks"),
        ({"a": "log1p"}, "target_transform names 'a', which is not a task"),
        ("log1p", "log1p' needs labels above -1; the smallest of task 1 is -1"),
        (
            FunctionTransformer(np.log, np.exp, check_inverse=False),
            "turns the 60 labels of task 1 into an array .* with infinite or missing",
        ),
        (
            QuantileTransformer(n_quantiles=10).set_params(output_distribution="x"),
            "output_distribution",
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
def test_errors_say_what_is_wrong(transform, error):
    X, y = skewed()
    y = y.copy()
    y[7, 1] = -1
    with pytest.raises(ValueError, match=error):
        MultiTaskNetRegressor(target_transform=transform).fit(X, y)


def test_a_transform_gives_one_number_a_label():
    class Twice(StandardScaler):
        def transform(self, X):
            return np.append(X, X, axis=1)

    X, y = skewed()
    with pytest.raises(ValueError, match=r"task 0 into an array of shape \(60, 2\)"):
        MultiTaskNetRegressor(target_transform=Twice()).fit(X, y)
