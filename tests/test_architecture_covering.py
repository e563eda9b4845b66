"""Architectures with everything they meet, two by two.

A covering array: every architecture meets every weighting, every kind of data, one and
four members and a fused search in some case, and so does each of these each other.
"""

import pickle
from itertools import combinations, product

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from skmtl import MAMLRegressor, MixedTaskNet, MultiTaskNetRegressor
from skmtl.architecture import HardSharing, MMoE, SoftSharing
from skmtl.encoding import Standard
from skmtl.model_selection import FusedGridSearchCV
from skmtl.weighting import (
    DBMTL,
    DWA,
    FAMO,
    CAGrad,
    Equal,
    GradDrop,
    GradNorm,
    HeadRates,
    MoCo,
    PCGrad,
    Uncertainty,
)

from .instances import STRATEGIES, missing, regression_data

# The first instance of each class.
ARCHITECTURES = list(
    {type(row.strategy): row for row in reversed(STRATEGIES["architecture"])}.values()
)[::-1]
WEIGHTINGS = [
    Equal(),
    Uncertainty(),
    DWA(),
    FAMO(),
    HeadRates(),
    PCGrad(),
    PCGrad(gradients="parameters"),
    CAGrad(gradients="parameters"),
    GradNorm(),
    GradDrop(),
    MoCo(),
    DBMTL(),
]
FACTORS = {
    "architecture": ARCHITECTURES,
    "weighting": WEIGHTINGS,
    "data": ["missing labels", "row tasks", "numbers and classes", "meta-learner"],
    "n_estimators": [1, 4],
    "fused": [False, True],
}


def met(case):
    """List the pairs of levels that a case, whole or not, brings together."""
    pairs = set(combinations(sorted(case), 2))
    number = dict(case).get("data")
    if number is not None and FACTORS["data"][number] == "meta-learner":
        # It takes no weighting.
        return {pair for pair in pairs if "weighting" not in dict(pair)}
    return pairs


def covering_array():
    """List cases in which any two levels of any two factors meet, greedily."""
    levels = {n: [(n, i) for i in range(len(v))] for n, v in FACTORS.items()}
    to_meet = {
        pair
        for a, b in combinations(levels, 2)
        for pair in product(levels[a], levels[b])
    }
    to_meet = {pair for two in to_meet for pair in met(two)}
    rng = np.random.default_rng(0)
    cases = []
    while to_meet:
        case = min(to_meet)
        for name in levels:
            if name in dict(case):
                continue
            gains = [len(to_meet & met((*case, level))) for level in levels[name]]
            best = np.flatnonzero(np.array(gains) == max(gains))
            case = (*case, levels[name][rng.choice(best)])
        cases.append(dict(case))
        to_meet -= met(case)
    return cases


def named(case):
    """Look up the levels of a case, and call it by them."""
    levels = [values[case[name]] for name, values in FACTORS.items()]
    architecture, weighting, data, members, fused = levels
    words = type(architecture.strategy).__name__, repr(weighting), data, str(members)
    return pytest.param(*levels, id="-".join([*words, "fused" if fused else "plain"]))


CASES = list(map(named, covering_array()))


def make(architecture, weighting, data, n_estimators):
    """Make an estimator and what it is fitted to."""
    X, y = regression_data()
    settings = {
        "architecture": clone(architecture),
        "encoding": Standard(),
        "n_estimators": n_estimators,
        "random_state": 0,
        "device": "cpu",
    }
    task = np.arange(len(X)) % 3
    if data in ("row tasks", "meta-learner"):
        X, y, settings["task_column"] = np.column_stack([X, task]), y[:, 0], 4
    if data == "meta-learner":
        small = {"n_support": (2, 4), "n_query": 4, "meta_batch_size": 2}
        return MAMLRegressor(max_iter=2, **small, **settings), X, y
    settings |= {"weighting": clone(weighting), "max_epochs": 2, "batch_size": 16}
    if data == "missing labels":
        return MultiTaskNetRegressor(**settings), X, missing(y)
    if data == "row tasks":
        return MultiTaskNetRegressor(**settings), X, y
    y = y.copy()
    y[:, 2] = y[:, 2] > 5
    types = ["number", "number", "class"]
    return MixedTaskNet(task_types=types, **settings), X, y


def refusal(row, weighting, data):
    """Say by which words a case is refused, or None."""
    if data == "meta-learner":
        return None
    if data == "row tasks" and not row.row_tasks:
        return row.row_error
    if getattr(weighting, "gradients", None) != "features":
        return None
    if not row.has_features:
        return f"{type(weighting).__name__}.*{type(row.strategy).__name__}"
    return "row tasks each row has one task" if data == "row tasks" else None


@pytest.mark.parametrize(("row", "weighting", "data", "members", "fused"), CASES)
def test_every_two_choices_work_together(row, weighting, data, members, fused):
    model, X, y = make(row.strategy, weighting, data, members)
    search = model
    if fused:
        search = FusedGridSearchCV(
            model, {"lr": [0.01, 0.02]}, cv=2, error_score="raise", fallback="warn"
        )
    words = refusal(row, weighting, data)
    if words is not None:
        with pytest.raises(ValueError, match=words):
            search.fit(X, y)
        return
    if fused and data == "meta-learner":
        with pytest.warns(UserWarning, match="is none of"):
            search.fit(X, y)
    else:
        search.fit(X, y)
    predictions = np.asarray(search.predict(X), float)
    assert predictions.shape == y.shape
    assert np.isfinite(predictions).all()
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_allclose(np.asarray(again.predict(X), float), predictions)


def assert_fused_equals_plain(model, grid, X, y):
    """Search both ways in float64, and compare scores and predictions."""
    model.set_params(dtype="float64")
    cv = KFold(2, shuffle=True, random_state=0)
    plain = GridSearchCV(model, grid, cv=cv).fit(X, y)
    fused = FusedGridSearchCV(model, grid, cv=cv, fallback="error").fit(X, y)
    for split in range(2):
        name = f"split{split}_test_score"
        found, expected = fused.cv_results_[name], plain.cv_results_[name]
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    assert repr(fused.best_params_) == repr(plain.best_params_)
    np.testing.assert_allclose(fused.predict(X), plain.predict(X), rtol=0, atol=1e-8)


@pytest.mark.parametrize("data", ["missing labels", "row tasks"])
def test_a_grid_of_architectures_equals_the_plain_search(data):
    model, X, y = make(HardSharing(), Equal(), data, 2)
    model.set_params(max_epochs=4)
    choices = [
        clone(row.strategy)
        for row in ARCHITECTURES
        if row.row_tasks or data == "missing labels"
    ]
    assert_fused_equals_plain(model, {"architecture": choices}, X, y)


@pytest.mark.parametrize("data", ["missing labels", "row tasks"])
@pytest.mark.parametrize(
    ("architecture", "grid"),
    [
        (HardSharing((8,)), {"dropout": [0.0, 0.3], "task_shrinkage": [1.0, 10.0]}),
        (MMoE(2, (8,)), {"dropout": [0.0, 0.3], "expert_dropout": [0.0, 0.2]}),
        (SoftSharing((8,)), {"strength": [0.0, 1.0, 100.0], "dropout": [0.0, 0.2]}),
        # Sizes make other banks.
        (HardSharing((8,)), {"hidden_layer_sizes": [(8,), (4, 4)]}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_grid_of_its_parameters_equals_the_plain_search(architecture, grid, data):
    model, X, y = make(architecture, Equal(), data, 2)
    model.set_params(max_epochs=4)
    grid = {f"architecture__{name}": values for name, values in grid.items()}
    assert_fused_equals_plain(model, grid, X, y)
