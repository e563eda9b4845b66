"""What the score of tasks of both kinds is."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import d2_log_loss_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from .instances import classification_data, regression_data, row_task_data, small


def mixed_data(n_samples=80, *, hidden=0.0, seed=0):
    """Draw X, and a number, words, and a category of three."""
    X, classes = classification_data(n_samples, seed=seed)
    words = np.array(["no", "yes"], dtype=object)[classes[:, 0].astype(int)]
    grade = np.array(["a", "b", "c"], dtype=object)[classes[:, 1].astype(int)]
    y = pd.DataFrame({"size": X[:, 0] + X[:, 1] ** 2, "word": words, "grade": grade})
    absent = np.random.default_rng(seed).random(y.shape) < hidden
    absent[:10] = False
    return X, y.mask(absent)


def score_by_hand(model, X, y, weight=None, **task):
    predicted, proba = model.predict(X, **task), model.predict_proba(X, **task)
    scores = []
    for j, (name, kind) in enumerate(model.task_types_.items()):
        known = y[name].notna().to_numpy()
        own = None if weight is None else weight.reshape(len(X), -1)[known, -1]
        if weight is not None and weight.ndim == 2:
            own = weight[known, j]
        labels = y.loc[known, name]
        if kind == "number":
            numbers = predicted[name].to_numpy()[known]
            scores.append(r2_score(labels, numbers, sample_weight=own))
        else:
            scores.append(
                d2_log_loss_score(
                    labels.astype(str),
                    proba[name][known],
                    labels=model.classes_[name].tolist(),
                    sample_weight=own,
                )
            )
    return np.mean(scores)


@pytest.fixture(scope="module")
def fitted():
    return small("mixed").fit(*mixed_data())


@pytest.mark.parametrize("hidden", [0.0, 0.4])
@pytest.mark.parametrize("weights", [None, "rows", "cells"])
def test_the_score_is_the_mean_d2_over_tasks_on_labelled_cells(fitted, hidden, weights):
    X, y = mixed_data(60, hidden=hidden, seed=3)
    shape = {"rows": (60,), "cells": (60, 3)}
    rng = np.random.default_rng(0)
    weight = None if weights is None else rng.uniform(0.5, 2, size=shape[weights])
    expected = score_by_hand(fitted, X, y, weight)
    np.testing.assert_allclose(fitted.score(X, y, sample_weight=weight), expected)


def test_the_score_of_numbers_alone_is_that_of_the_regressor():
    X, y = regression_data()
    ours, theirs = (small(k, max_epochs=3).fit(X, y) for k in ("mixed", "regressor"))
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y))


def test_the_score_of_row_tasks_is_pooled():
    X, number, task = row_task_data()
    y = pd.DataFrame({"gain": number, "won": np.where(number > 0, "yes", "no")})
    model = small("mixed").fit(X, y, task=task)
    expected = score_by_hand(model, X, y, task=task)
    np.testing.assert_allclose(model.score(X, y, task=task), expected)


def test_tasks_without_labels_are_left_out_with_one_warning(fitted):
    X, y = mixed_data(60, seed=3)
    without = y.assign(word=None)
    with pytest.warns(UndefinedMetricWarning, match="'word'") as record:
        score = fitted.score(X, without)
    assert len(record) == 1
    assert np.isfinite(score)


def test_a_perfect_model_scores_near_one_and_a_constant_one_zero():
    X, y = mixed_data(200)
    assert small("mixed", max_epochs=150).fit(X, y).score(X, y) > 0.5
    constant = small("mixed", lr=1e-12, max_epochs=1).set_params(
        architecture__hidden_layer_sizes=()
    )
    assert abs(constant.fit(X, y).score(X, y)) < 0.5


def test_cross_validation_and_searches_score_by_default():
    X, y = mixed_data()
    y = y[["size", "word"]]
    model = small("mixed", max_epochs=5)
    scores = cross_validate(model, X, y, cv=KFold(3), scoring=None)["test_score"]
    assert np.isfinite(scores).all()
    train, test = next(iter(KFold(3).split(X)))
    by_hand = score_by_hand(model.fit(X[train], y.iloc[train]), X[test], y.iloc[test])
    np.testing.assert_allclose(scores[0], by_hand)
    search = GridSearchCV(model, {"lr": [1e-6, 0.05]}, cv=KFold(2)).fit(X, y)
    assert search.best_params_ == {"lr": 0.05}
