"""The tools of scikit-learn, with row tasks and with missing labels.

What scikit-learn cannot do is pinned with its reason, so that we hear when it changes.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import StackingRegressor
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from .instances import (
    ESTIMATORS,
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)
CV = KFold(3, shuffle=True, random_state=0)
GRID = {"architecture__hidden_layer_sizes": [(4,), (16,)]}


@pytest.fixture(params=[False, True], ids=["routing off", "routing on"])
def routing(request):
    with config_context(enable_metadata_routing=request.param):
        yield request.param


@pytest.fixture
def rows():
    """Give X without ids, y, ids, and X with ids in the column "store"."""
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame.insert(1, "store", [f"store {t}" for t in task])
    return X, y, task, frame


def by_column(kind="regressor", **changes):
    return small(kind, task_column="store", max_epochs=20, n_estimators=1, **changes)


def by_argument(kind="regressor", **changes):
    return small(kind, max_epochs=20, n_estimators=1, **changes)


def labels(kind, y):
    return y if kind == "regressor" else np.where(y > 0, "high", "low")


# -- row tasks by task_column: everything works, routing off and on --------------


@pytest.mark.parametrize(
    ("kind", "scoring"),
    [
        ("regressor", None),
        ("regressor", "r2"),
        ("regressor", ["r2"]),
        ("regressor", {"r2": make_scorer(r2_score)}),
        ("classifier", None),
        ("classifier", "roc_auc"),
        ("classifier", ["accuracy", "neg_log_loss"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("routing")
def test_task_column_works_in_cross_validate_with_any_scorer(rows, kind, scoring):
    _, y, _, frame = rows
    found = cross_validate(
        by_column(kind),
        frame,
        labels(kind, y),
        cv=CV,
        scoring=scoring,
        error_score="raise",
    )
    names = list(scoring) if isinstance(scoring, list | dict) else ["score"]
    for name in names:
        assert found[f"test_{name}"].shape == (3,)
        assert np.isfinite(found[f"test_{name}"]).all()
    floor = 0.3 if kind == "regressor" else 0.6
    assert (found[f"test_{names[0]}"] > floor).all()


@pytest.mark.usefixtures("routing")
def test_task_column_gives_one_score_by_name_and_by_the_estimator(rows):
    _, y, _, frame = rows
    by_default = cross_val_score(by_column(), frame, y, cv=CV)
    by_name = cross_val_score(by_column(), frame, y, cv=CV, scoring="r2")
    np.testing.assert_allclose(by_default, by_name, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("routing")
def test_task_column_works_in_a_search_and_its_predict(rows, kind):
    _, y, _, frame = rows
    y = labels(kind, y)
    scoring = "r2" if kind == "regressor" else "accuracy"
    search = GridSearchCV(
        by_column(kind), GRID, cv=CV, scoring=scoring, error_score="raise"
    ).fit(frame, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    np.testing.assert_array_equal(
        search.predict(frame), search.best_estimator_.predict(frame)
    )
    assert search.score(frame, y) > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("routing")
def test_an_integer_cv_works_in_a_search_with_complete_labels(rows, kind):
    _, y, _, frame = rows
    search = GridSearchCV(by_column(kind), GRID, cv=2, error_score="raise")
    assert search.fit(frame, labels(kind, y)).best_score_ > 0.3


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_cross_val_predict(rows):
    _, y, _, frame = rows
    predicted = cross_val_predict(by_column(), frame, y, cv=CV)
    assert r2_score(y, predicted) > 0.3
    proba = cross_val_predict(
        by_column("classifier"), frame, y > 0, cv=CV, method="predict_proba"
    )
    assert proba.shape == (len(y), 2)
    assert np.mean((proba[:, 1] > 0.5) == (y > 0)) > 0.6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("routing")
def test_task_column_works_in_permutation_importance(rows, kind):
    _, y, _, frame = rows
    y = labels(kind, y)
    model = by_column(kind).fit(frame, y)
    scoring = "r2" if kind == "regressor" else "accuracy"
    for name in (None, scoring):
        found = permutation_importance(
            model, frame, y, scoring=name, n_repeats=3, random_state=0
        ).importances_mean
        a, store, _, c = found
        assert a > 0.1
        assert store > 0.1  # shuffled ids are wrong ids
        assert a > c


@pytest.mark.usefixtures("routing")
def test_task_column_survives_a_pipeline_that_passes_it_on(rows):
    _, y, _, frame = rows
    scaler = make_column_transformer(
        (StandardScaler(), ["a", "b", "c"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipe = make_pipeline(scaler, by_column()).fit(frame, y)
    assert pipe[-1].n_tasks_ == 6
    assert pipe.score(frame, y) > 0.5
    assert cross_val_score(pipe, frame, y, cv=CV, scoring="r2").min() > 0.3
    np.testing.assert_allclose(
        pipe.predict(frame[:5]), pipe.predict(frame)[:5], rtol=1e-7
    )


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_transformed_target_regressor(rows):
    _, y, _, frame = rows
    model = TransformedTargetRegressor(by_column(), transformer=StandardScaler()).fit(
        frame, y
    )
    assert model.score(frame, y) > 0.5
    assert cross_val_score(model, frame, y, cv=CV).min() > 0.3


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_stacking(rows):
    _, y, task, frame = rows
    table = np.column_stack([task, frame[["a", "b", "c"]]])  # Ridge needs numbers
    model = by_column().set_params(task_column=0)
    stack = StackingRegressor([("net", model), ("ridge", Ridge())], Ridge(), cv=CV)
    assert stack.fit(table, y).score(table, y) > 0.5


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_multi_output_regressor(rows):
    _, y, _, frame = rows
    model = MultiOutputRegressor(by_column()).fit(frame, np.column_stack([y, -y]))
    assert model.predict(frame).shape == (len(y), 2)


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_partial_dependence(rows):
    X, y, task, _ = rows
    table = np.column_stack([X, task.astype(float)])
    model = by_column().set_params(task_column=-1).fit(table, y)
    found = partial_dependence(model, table, [0], grid_resolution=5)
    assert (np.diff(found["average"][0]) > 0).all()  # the slope of column 0 is 3


@pytest.mark.usefixtures("routing")
def test_task_column_works_in_a_learning_curve(rows):
    _, y, _, frame = rows
    _, _, scores = learning_curve(
        by_column(), frame, y, cv=CV, train_sizes=[0.9], error_score="raise"
    )
    assert np.isfinite(scores).all()


def test_whole_groups_may_be_held_out_and_are_predicted_by_the_shared_head(rows):
    _, y, task, frame = rows
    with pytest.warns(UserWarning, match="fit did not see") as record:
        scores = cross_val_score(by_column(), frame, y, groups=task, cv=GroupKFold(3))
    assert len(record) == 3
    assert np.isfinite(scores).all()


def test_a_fold_that_lacks_a_group_still_scores(rows):
    _, y, _, frame = rows
    frame = frame.copy()
    frame.loc[0, "store"] = "a store of one row"
    with pytest.warns(UserWarning, match="a store of one row") as record:
        scores = cross_val_score(by_column(), frame, y, cv=CV, scoring="r2")
    assert len(record) == 1
    assert np.isfinite(scores).all()


# -- row tasks by task=: where scikit-learn routes it ----------------------------

NEEDS_TASK = "Pass task=.*task_column"


def test_every_method_requests_task_by_default():
    for kind in KINDS:
        requests = ESTIMATORS[kind]().get_metadata_routing()
        methods = ["fit", "predict", "score"]
        methods += ["predict_proba"] if kind == "classifier" else []
        for method in methods:
            assert getattr(requests, method).requests["task"] is True
        assert requests.fit.requests["sample_weight"] is None


def test_task_reaches_cross_validation_by_the_own_score_with_routing(rows):
    X, y, task, _ = rows
    with config_context(enable_metadata_routing=True):
        routed = cross_val_score(by_argument(), X, y, cv=CV, params={"task": task})
        _, _, curve = learning_curve(
            by_argument(), X, y, cv=CV, train_sizes=[0.9], params={"task": task}
        )
    table = np.column_stack([X, task])
    by_position = by_argument().set_params(task_column=-1)
    np.testing.assert_array_equal(routed, cross_val_score(by_position, table, y, cv=CV))
    assert np.isfinite(curve).all()


def test_task_reaches_a_search_by_the_own_score_with_routing(rows):
    X, y, task, _ = rows
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(by_argument(), GRID, cv=CV, error_score="raise")
        search.fit(X, y, task=task)
        assert search.best_score_ > 0.3
        assert search.score(X, y, task=task) > 0.5


def test_task_does_not_reach_any_score_without_routing(rows):
    # Without routing, the scorer gets no metadata at all.
    X, y, task, _ = rows
    with pytest.raises(ValueError, match=NEEDS_TASK):
        cross_validate(
            by_argument(), X, y, cv=CV, params={"task": task}, error_score="raise"
        )
    with pytest.raises(ValueError, match=NEEDS_TASK):
        GridSearchCV(by_argument(), GRID, cv=CV, error_score="raise").fit(
            X, y, task=task
        )


@pytest.mark.parametrize("scoring", ["r2", ["r2"]], ids=str)
@pytest.mark.usefixtures("routing")
def test_task_does_not_reach_scorers_by_name(rows, scoring):
    # Scorers by name call predict with X alone, routing or not.
    X, y, task, _ = rows
    with pytest.raises(ValueError, match=NEEDS_TASK):
        cross_validate(
            by_argument(),
            X,
            y,
            cv=CV,
            params={"task": task},
            scoring=scoring,
            error_score="raise",
        )


@pytest.mark.usefixtures("routing")
def test_task_does_not_reach_cross_val_predict(rows):
    # cross_val_predict routes metadata to fit and not to predict.
    X, y, task, _ = rows
    with pytest.raises(ValueError, match=NEEDS_TASK):
        cross_val_predict(by_argument(), X, y, cv=CV, params={"task": task})


@pytest.mark.usefixtures("routing")
def test_predict_of_a_search_takes_no_task(rows):
    # BaseSearchCV.predict has X as its only argument.
    X, y, task, frame = rows
    search = GridSearchCV(by_column(), GRID, cv=CV).fit(frame, y)
    with pytest.raises(TypeError, match="unexpected keyword argument 'task'"):
        search.predict(X, task=task)


def test_a_pipeline_takes_task_in_fit_by_step_or_by_routing(rows):
    X, y, task, _ = rows
    pipe = Pipeline([("scale", StandardScaler()), ("net", by_argument())])
    pipe.fit(X, y, net__task=task)
    expected = pipe.predict(X, task=task)
    with pytest.raises(ValueError, match=NEEDS_TASK):
        pipe.score(X, y, task=task)  # Pipeline.score drops it without routing
    with config_context(enable_metadata_routing=True):
        with pytest.raises(TypeError, match="net__task"):
            pipe.fit(X, y, net__task=task)
        pipe.fit(X, y, task=task)
        np.testing.assert_array_equal(pipe.predict(X, task=task), expected)
        assert pipe.score(X, y, task=task) > 0.5


def test_groups_are_split_by_the_routed_task(rows):
    X, y, task, _ = rows
    with config_context(enable_metadata_routing=True):
        cv = GroupKFold(3).set_split_request(groups="task")
        with pytest.warns(UserWarning, match="fit did not see") as record:
            scores = cross_val_score(by_argument(), X, y, cv=cv, params={"task": task})
    assert len(record) == 3
    assert np.isfinite(scores).all()


def test_a_transformed_target_takes_task_in_fit_and_predict(rows):
    X, y, task, _ = rows
    model = TransformedTargetRegressor(by_argument(), transformer=StandardScaler())
    predicted = model.fit(X, y, task=task).predict(X, task=task)
    assert r2_score(y, predicted) > 0.5


@pytest.mark.usefixtures("routing")
def test_a_transformed_target_takes_no_task_in_score(rows):
    # Its score is that of RegressorMixin, which knows sample_weight only.
    X, y, task, _ = rows
    model = TransformedTargetRegressor(by_argument(), transformer=StandardScaler())
    model.fit(X, y, task=task)
    with pytest.raises(TypeError, match="task"):
        model.score(X, y, task=task)
    with pytest.raises((TypeError, ValueError), match="task"):
        cross_val_score(model, X, y, cv=CV, params={"task": task}, error_score="raise")


@pytest.mark.usefixtures("routing")
def test_inspection_takes_no_task(rows):
    # Both call predict, or a scorer, with X alone.
    X, y, task, _ = rows
    model = by_argument().fit(X, y, task=task)
    with pytest.raises(ValueError, match=NEEDS_TASK):
        permutation_importance(model, X, y, n_repeats=1)
    with pytest.raises(ValueError, match=NEEDS_TASK):
        partial_dependence(model, X, [0], grid_resolution=3)


def test_meta_estimators_over_estimators_take_no_task(rows):
    # Stacking routes to fit only, and cross-validates with predict.
    X, y, task, _ = rows
    stack = StackingRegressor([("net", by_argument())], Ridge(), cv=CV)
    with config_context(enable_metadata_routing=True):
        with pytest.raises((TypeError, ValueError), match="task"):
            stack.fit(X, y, task=task)
        two = MultiOutputRegressor(by_argument())
        two.fit(X, np.column_stack([y, y]), task=task)
        with pytest.raises(TypeError, match="task"):
            two.predict(X, task=task)


# -- missing labels --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("routing")
def test_task_weights_are_searched_with_missing_labels(kind):
    X, y = regression_data(n_tasks=2) if kind == "regressor" else classification_data()
    y = missing(y)
    choices = [None, [1, 2], (2, 1), np.array([1.0, 0.0]), {0: 3}, "balanced"]
    search = GridSearchCV(
        small(kind, max_epochs=10, n_estimators=1),
        {"task_weights": choices},
        cv=KFold(2),
        error_score="raise",
    ).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert scores[0] == scores[5]  # None and "balanced" are alike for column tasks
    assert scores[0] != scores[1]


def test_task_weights_of_one_row_come_from_random_searches():
    class Dirichlet:
        def rvs(self, random_state=None):
            return random_state.dirichlet([1, 1], size=1)

    X, y = regression_data(n_tasks=2)
    search = RandomizedSearchCV(
        small("regressor", max_epochs=3, n_estimators=1),
        {"task_weights": Dirichlet()},
        n_iter=2,
        cv=KFold(2),
        random_state=0,
        error_score="raise",
    ).fit(X, missing(y))
    assert search.best_params_["task_weights"].shape == (1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_labels_go_through_what_leaves_y_alone(kind):
    X, y = regression_data() if kind == "regressor" else classification_data()
    y = missing(y)
    model = small(kind, max_epochs=10, n_estimators=1)
    floor = 0.1 if kind == "regressor" else 0.5
    assert cross_val_score(model, X, y, cv=CV).mean() > floor
    _, _, scores = learning_curve(model, X, y, cv=CV, train_sizes=[0.9])
    assert np.isfinite(scores).all()
    pipe = make_pipeline(StandardScaler(), model).fit(X, y)
    assert permutation_importance(pipe, X, y, n_repeats=1).importances_mean.max() > 0


def test_predictions_for_missing_regression_labels_are_cross_validated():
    X, y = regression_data()
    predicted = cross_val_predict(
        small("regressor", max_epochs=20), X, missing(y), cv=CV
    )
    assert r2_score(y, predicted) > 0.3


def test_missing_labels_are_refused_by_scorers_by_name():
    # scikit-learn's metrics refuse NaN, and cross-validation turns that into nan.
    X, y = regression_data()
    model = small("regressor", max_epochs=2, n_estimators=1)
    with pytest.raises(ValueError, match=r"Input.* contains NaN"):
        cross_val_score(model, X, missing(y), cv=CV, scoring="r2", error_score="raise")
    with pytest.warns(UserWarning, match="Scoring failed"):
        scores = cross_val_score(model, X, missing(y), cv=CV, scoring="r2")
    assert np.isnan(scores).all()


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_missing_class_labels_are_refused_by_an_integer_cv():
    # check_cv looks at the type of y to decide on stratification.
    X, y = classification_data()
    model = small("classifier", max_epochs=2, n_estimators=1)
    with pytest.raises(ValueError, match="contains NaN"):
        cross_val_score(model, X, missing(y), cv=3)


def test_cross_val_predict_makes_a_class_of_missing_labels():
    # y is label-encoded for predict_proba, and NaN becomes the largest code.
    X, y = classification_data()
    y = missing(y)[:, 1]
    seen = []

    class Spy(ESTIMATORS["classifier"]):
        def fit(self, X, y):
            seen.append(np.unique(y).tolist())
            return super().fit(X, y)

    model = Spy(max_epochs=1, n_estimators=1, device="cpu")
    proba = cross_val_predict(model, X, y, cv=CV, method="predict_proba")
    assert seen[0] == [0, 1, 2, 3]
    assert proba.shape[1] == 4


def test_missing_labels_are_refused_by_transformed_target_regressor():
    # It checks y before the estimator sees it.
    X, y = regression_data()
    model = TransformedTargetRegressor(small("regressor"), transformer=StandardScaler())
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(X, missing(y))


def test_complete_column_tasks_work_in_transformed_target_regressor():
    X, y = regression_data()
    model = TransformedTargetRegressor(
        small("regressor"), transformer=FunctionTransformer(np.log1p, np.expm1)
    )
    y = np.exp(0.2 * y)
    assert model.fit(X, y).score(X, y) > 0.5


# -- weights ---------------------------------------------------------------------


def test_weights_of_cells_go_through_a_search_with_the_own_score():
    X, y = regression_data()
    weight = np.random.default_rng(0).uniform(size=y.shape)
    search = GridSearchCV(
        small("regressor", max_epochs=3, n_estimators=1),
        {"lr": [0.01, 0.02]},
        cv=KFold(2),
        error_score="raise",
    ).fit(X, missing(y), sample_weight=weight)
    assert np.isfinite(search.best_score_)


def test_requested_weights_are_routed():
    X, y = regression_data()
    weight = np.random.default_rng(0).uniform(size=len(X))
    with config_context(enable_metadata_routing=True):
        model = small("regressor", max_epochs=3, n_estimators=1)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(
            model, X, y, cv=CV, params={"sample_weight": weight}, error_score="raise"
        )
    by_hand = []
    for train, test in CV.split(X):
        own = small("regressor", max_epochs=3, n_estimators=1)
        own.fit(X[train], y[train], sample_weight=weight[train])
        by_hand.append(own.score(X[test], y[test], sample_weight=weight[test]))
    np.testing.assert_array_equal(scores, by_hand)
