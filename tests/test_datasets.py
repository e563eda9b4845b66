"""Generators: the data are what their arguments and oracles say."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from skmtl.datasets import (
    make_multitask_classification,
    make_multitask_regression,
    make_sinusoid_tasks,
)

MAKERS = [make_multitask_regression, make_multitask_classification]


def cosines(coef):
    """Cosines (n_tasks, n_tasks) of coefficients (n_features, n_tasks)."""
    coef = coef / np.linalg.norm(coef, axis=0)
    return coef.T @ coef


# -- relatedness -------------------------------------------------------------------


@given(
    relatedness=st.floats(0, 1),
    n_groups=st.integers(1, 3),
    n_outlier_tasks=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_relatedness_is_the_cosine_within_groups(
    relatedness, n_groups, n_outlier_tasks, seed
):
    *_, oracle = make_multitask_regression(
        n_features=10,
        n_tasks=6,
        relatedness=relatedness,
        n_groups=n_groups,
        n_outlier_tasks=n_outlier_tasks,
        scale_ratio=1e3,
        return_oracle=True,
        random_state=seed,
    )
    group = oracle.group
    assert (group == -1).sum() == n_outlier_tasks
    assert len(set(group[group >= 0])) == n_groups
    together = (group[:, None] == group) & (group >= 0)
    expected = np.where(together, relatedness, 0.0)
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(cosines(oracle.coef), expected, atol=1e-12)


def test_coefficients_of_fully_related_tasks_are_equal():
    *_, oracle = make_multitask_regression(
        n_features=4, relatedness=1.0, return_oracle=True, random_state=0
    )
    np.testing.assert_allclose(oracle.coef, oracle.coef[:, :1] * np.ones(5))


def test_unrelated_tasks_of_few_features_are_nearly_orthogonal():
    *_, oracle = make_multitask_regression(
        n_features=200, n_tasks=250, relatedness=0.0, return_oracle=True, random_state=0
    )
    cosine = cosines(oracle.coef)[np.triu_indices(250, 1)]
    assert abs(cosine.mean()) < 0.01
    assert np.sqrt((cosine**2).mean()) == pytest.approx(200**-0.5, rel=0.05)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_relatedness_holds_for_every_class(n_classes):
    *_, oracle = make_multitask_classification(
        n_tasks=4,
        n_classes=n_classes,
        relatedness=0.3,
        return_oracle=True,
        random_state=0,
    )
    assert oracle.coef.shape == (n_classes, 20, 4)
    for coef in oracle.coef:
        expected = np.where(np.eye(4, dtype=bool), 1.0, 0.3)
        np.testing.assert_allclose(cosines(coef), expected, atol=1e-12)


# -- regression --------------------------------------------------------------------


def test_least_squares_finds_the_coefficients_of_the_oracle():
    X, y, oracle = make_multitask_regression(
        noise=0.0, scale_ratio=100.0, return_oracle=True, random_state=0
    )
    np.testing.assert_allclose(oracle.scale, 10.0 ** np.array([0, 0.5, 1, 1.5, 2]))
    model = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, (oracle.coef * oracle.scale).T, atol=1e-10)
    np.testing.assert_array_equal(y, oracle.noiseless)


@pytest.mark.parametrize("nonlinear", [False, True])
def test_noise_and_values_have_the_scale_of_their_target(nonlinear):
    _, y, oracle = make_multitask_regression(
        20_000,
        scale_ratio=1e-4,
        noise=0.5,
        nonlinear=nonlinear,
        return_oracle=True,
        random_state=0,
    )
    noise = (y - oracle.noiseless) / oracle.scale
    np.testing.assert_allclose(noise.std(axis=0), 0.5, rtol=0.03)
    spread = oracle.noiseless.std(axis=0) / oracle.scale
    np.testing.assert_allclose(spread, 1.0, rtol=0.35 if nonlinear else 0.03)


def test_nonlinear_targets_are_not_linear():
    scores = []
    for nonlinear in (False, True):
        X, y = make_multitask_regression(
            2000, noise=0.0, nonlinear=nonlinear, random_state=0
        )
        scores.append(LinearRegression().fit(X, y).score(X, y))
    assert scores[0] == pytest.approx(1.0)
    assert scores[1] < 0.6


def test_the_function_answers_for_new_rows():
    X, _, oracle = make_multitask_regression(
        nonlinear=True, return_oracle=True, random_state=0
    )
    oracle = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(oracle.function(X), oracle.noiseless)
    assert oracle.function(X[:3] + 1).shape == (3, 5)


# -- classification ----------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_classes_have_the_frequencies_asked_for(n_classes, noise):
    _, y = make_multitask_classification(
        20_000, n_tasks=2, n_classes=n_classes, imbalance=8, noise=noise, random_state=0
    )
    expected = np.geomspace(8, 1, n_classes)
    expected /= expected.sum()
    for labels in y.T:
        frequency = np.bincount(labels, minlength=n_classes) / len(labels)
        np.testing.assert_allclose(frequency, expected, atol=0.025)


def test_labels_are_drawn_from_the_probabilities_of_the_oracle():
    X, y, oracle = make_multitask_classification(
        20_000, n_classes=3, noise=0.7, return_oracle=True, random_state=0
    )
    proba = oracle.probabilities
    np.testing.assert_allclose(proba.sum(axis=2), 1.0)
    np.testing.assert_array_equal(oracle.function(X), proba)
    for c in range(3):
        sure = proba[..., c] > 0.8
        hit = (y == c)[sure].mean()
        assert hit == pytest.approx(proba[..., c][sure].mean(), abs=0.02)


def test_without_noise_labels_are_the_most_probable_classes():
    _, y, oracle = make_multitask_classification(
        n_classes=3, noise=0, nonlinear=True, return_oracle=True, random_state=0
    )
    np.testing.assert_array_equal(y, oracle.noiseless)
    assert y.dtype.kind == "i"


# -- both --------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS)
@given(missing=st.floats(0, 0.99), n_samples=st.integers(20, 60), rows=st.booleans())
def test_the_share_asked_for_is_missing_and_every_class_keeps_a_label(
    make, missing, n_samples, rows
):
    form = "rows" if rows else "columns"
    draw = {"n_tasks": 3, "form": form, "random_state": 0}
    _, complete, *task = make(n_samples, **draw)
    _, y, *_ = make(n_samples, missing=missing, **draw)
    for t in range(3):
        of_task = task[0] == t if rows else (slice(None), t)
        labels, all_labels = y[of_task], complete[of_task]
        present = ~np.isnan(labels.astype(float))
        np.testing.assert_array_equal(labels[present], all_labels[present])
        classes = np.unique(all_labels) if make is MAKERS[1] else [0]
        n_missing = min(round(missing * len(labels)), len(labels) - len(classes))
        assert (~present).sum() == n_missing
        if make is MAKERS[1]:
            np.testing.assert_array_equal(np.unique(labels[present]), classes)


@pytest.mark.parametrize("make", MAKERS)
def test_rows_have_one_task_each(make):
    X, y, task, oracle = make(
        101, n_tasks=4, form="rows", missing=0.2, return_oracle=True, random_state=0
    )
    assert X.shape == (101, 20)
    assert y.shape == task.shape == oracle.noiseless.shape == (101,)
    sizes = np.bincount(task)
    assert sizes.tolist() == [26, 25, 25, 25]
    assert np.isnan(y).sum() == 4 * 5
    own = oracle.function(X)[np.arange(101), task]
    labelled = own if own.ndim == 1 else own.argmax(axis=1)
    np.testing.assert_array_equal(oracle.noiseless, labelled)


@pytest.mark.parametrize("make", [*MAKERS, make_sinusoid_tasks])
def test_data_follow_the_random_state(make):
    first, again, other = (make(random_state=seed) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])
    assert len(make(random_state=0, return_oracle=True)) == len(first) + 1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"relatedness": 1.1},
        {"relatedness": np.nan},
        {"missing": 1.0},
        {"noise": -0.1},
        {"n_tasks": 0},
        {"n_groups": 0},
        {"n_outlier_tasks": 6},
        {"form": "wide"},
        {"n_samples": 3, "form": "rows"},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_named(make, arguments):
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make(**arguments)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (make_multitask_regression, {"scale_ratio": 0}),
        (make_multitask_classification, {"imbalance": 0.5}),
        (make_multitask_classification, {"n_classes": 1}),
        (make_sinusoid_tasks, {"noise": -1}),
    ],
)
def test_arguments_of_one_generator_are_checked(make, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make(**arguments)


# -- sinusoids ---------------------------------------------------------------------


def test_sinusoids_are_those_of_the_paper():
    X, y, task, oracle = make_sinusoid_tasks(500, 4, return_oracle=True, random_state=0)
    assert X.shape == (2000, 1)
    assert (np.bincount(task) == 4).all()
    for drawn, low, high in (
        (X, -5, 5),
        (oracle.amplitude, 0.1, 5),
        (oracle.phase, 0, np.pi),
    ):
        assert low <= drawn.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < drawn.max() <= high
    expected = oracle.amplitude[task] * np.sin(X[:, 0] - oracle.phase[task])
    np.testing.assert_allclose(y, expected)
    np.testing.assert_array_equal(
        oracle.function(X[:5], task[:5]), oracle.noiseless[:5]
    )


def test_sinusoids_have_the_noise_and_ranges_asked_for():
    X, y, _, oracle = make_sinusoid_tasks(
        1000,
        20,
        noise=0.3,
        amplitude=(1, 1),
        phase=(0, 0),
        x_range=(0, 1),
        return_oracle=True,
        random_state=0,
    )
    assert X.min() >= 0 <= X.max() <= 1
    np.testing.assert_allclose(oracle.noiseless, np.sin(X[:, 0]))
    assert np.std(y - oracle.noiseless) == pytest.approx(0.3, rel=0.02)
