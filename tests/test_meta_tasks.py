"""Tasks of every form that meta-learners fit, predict and adapt to."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from skmtl import Adapted, adapt
from skmtl.architecture import TorchModule
from skmtl.encoding import Auto, Periodic, Raw, Standard
from skmtl.model_selection import few_shot_validate, make_few_shot_scorer

from .instances import (
    META,
    meta,
    missing,
    regression_data,
    row_task_data,
)

NAMES = sorted(META)
REGRESSORS = [name for name in NAMES if name.endswith("regressor")]
CLASSIFIERS = [name for name in NAMES if name.endswith("classifier")]
NOVEL = ["prototypical_classifier", "siamese_classifier"]
# Adaptations of these are functions of the rows, in closed form.
CLOSED = ["meta_ridge_regressor", "meta_ridge_classifier", *NOVEL]
# These take several columns of y in each row task.
SEVERAL = [name for name in NAMES if name not in NOVEL]


def quick(name, **changes):
    return meta(name, **{"max_iter": 10, "n_support": 2} | changes)


def labels_for(name, y):
    return y if name.endswith("regressor") else (y > 0).astype(float)


def group_data(name, n_samples=60, n_groups=6, *, seed=0):
    """Draw groups of rows; classifiers get two classes."""
    X, y, task = row_task_data(n_samples, n_groups, seed=seed)
    return X, labels_for(name, y), task


def new_data(name, ids=(50,), *, seed=1):
    """Draw ten rows of each of some new groups."""
    X, y, _ = row_task_data(10 * len(ids), 6, seed=seed)
    return X, labels_for(name, y), np.repeat(ids, 10)


def answers(model, X, task=None):
    """Predict whatever the estimator predicts, as one array."""
    answer = getattr(model, "predict_proba", model.predict)
    found = answer(X) if task is None else answer(X, task=task)
    return np.concatenate(found, axis=1) if isinstance(found, list) else found


def weights(model):
    return {k: v.clone() for k, v in model.net_.module_.state_dict().items()}


@pytest.fixture(scope="module")
def fits():
    """Fit each estimator to groups once, when it is asked for."""
    found = {}

    def fit(name):
        if name not in found:
            X, y, task = group_data(name)
            model = quick(name, dtype="float64").fit(X, y, task=task)
            found[name] = model, X, y, task
        return found[name]

    return fit


# -- forms of tasks --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_task_column_says_the_same_as_task(name, fits):
    model, X, y, task = fits(name)
    expected = answers(model, X, task)
    array = np.c_[X[:, :2], task, X[:, 2:]]
    by_position = quick(name, dtype="float64", task_column=2).fit(array, y)
    np.testing.assert_array_equal(answers(by_position, array), expected)
    assert by_position.n_features_in_ == 4
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["shop"] = [f"s{i}" for i in task]
    by_name = quick(name, dtype="float64", task_column="shop").fit(frame, y)
    np.testing.assert_array_equal(answers(by_name, frame), expected)
    assert by_name.task_names_.tolist() == [f"s{i}" for i in range(10, 16)]
    assert model.task_names_.tolist() == list(range(10, 16))
    assert by_name.feature_names_in_.tolist() == ["a", "b", "c", "shop"]


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_y_are_tasks(name):
    if name in REGRESSORS:
        X, y = regression_data(n_tasks=6)
    else:
        X, y = regression_data(n_tasks=6)
        y = np.digitize(y, np.quantile(y, [0.4, 0.7])).astype(float)
    y = missing(y)
    model = quick(name).fit(X, y)
    assert model.n_tasks_ == 6
    assert model.predict(X).shape == y.shape
    if name in CLASSIFIERS:
        proba = model.predict_proba(X)
        assert [p.shape for p in proba] == [(60, len(c)) for c in model.classes_]
        for p in proba:
            np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.isfinite(model.score(X, y))
    # Without any rows of its own, the answer does not depend on the other rows.
    np.testing.assert_allclose(
        answers(model, X[:7]), answers(model, X)[:7], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_columns_of_a_frame_keep_their_names(name):
    X, y = regression_data(n_tasks=3)
    if name in CLASSIFIERS:
        y = np.where(y > 5, "high", "low")
    y = pd.DataFrame(y, columns=["u", "v", "w"])
    model = quick(name).fit(X, y)
    assert model.task_names_.tolist() == ["u", "v", "w"]
    found = model.predict(X)
    assert np.shape(found) == (60, 3)
    if name in CLASSIFIERS:
        assert set(np.unique(np.asarray(found))) <= {"high", "low"}


@pytest.mark.parametrize("name", NAMES)
def test_a_new_column_is_learned(name):
    X, y = regression_data(n_tasks=6)
    y = y if name in REGRESSORS else (y > 5).astype(float)
    model = quick(name).fit(X, y[:, :5])
    before = answers(model, X)
    adapted = model.adapt(X[:30], y[:30, 5])
    assert adapted.predict(X).shape == (60,)
    both = model.adapt(X[:30], pd.DataFrame(y[:30, 4:], columns=["a", "b"]))
    assert both.task_names_.tolist() == ["a", "b"]
    assert both.n_tasks_ == 2
    assert both.predict(X).shape == (60, 2)
    np.testing.assert_allclose(
        answers(both, X)[:, -1], answers(adapted, X).reshape(60, -1)[:, -1], atol=1e-9
    )
    np.testing.assert_array_equal(answers(model, X), before)
    again = adapted.adapt(X[30:], y[30:, 5])
    if name in CLOSED:
        once = model.adapt(X, y[:, 5])
        np.testing.assert_allclose(answers(again, X), answers(once, X), atol=1e-9)


@pytest.mark.parametrize("name", SEVERAL)
def test_row_tasks_have_several_targets(name):
    X, y, task = row_task_data()
    y = labels_for(name, np.c_[y, -y + X[:, 0]])
    y = missing(y)
    model = quick(name).fit(X, y, task=task)
    assert model.n_tasks_ == 6
    assert model.predict(X, task=task).shape == (120, 2)
    adapted = model.adapt(X[:20], y[:20])
    assert adapted.predict(X).shape == (120, 2)
    assert np.isfinite(model.score(X, y, task=task))
    with pytest.raises(ValueError, match=r"y has 1 column\(s\), and fit had 2"):
        model.adapt(X, y[:, 0])
    with pytest.raises(ValueError, match=r"y has 3 column\(s\), and fit had 2"):
        model.adapt(X, y[:, [0, 1, 0]])


@pytest.mark.parametrize("name", NOVEL)
def test_classifiers_by_distance_take_one_column_of_row_tasks(name):
    X, y, task = group_data(name)
    with pytest.raises(ValueError, match="tells the classes of one column apart"):
        quick(name).fit(X, np.c_[y, y], task=task)
    model = quick(name).fit(X, y, task=task)
    with pytest.raises(ValueError, match="y has 2 columns"):
        model.adapt(X, np.c_[y, y])


@pytest.mark.parametrize("name", NAMES)
def test_one_pool_without_tasks(name):
    X, y, _ = group_data(name)
    model = quick(name).fit(X, y)
    assert model.n_tasks_ == 1
    assert model.predict(X).shape == (60,)
    assert np.isfinite(answers(model.adapt(X[:20], y[:20]), X)).all()
    with pytest.raises(ValueError, match="without row tasks, but predict got task"):
        model.predict(X, task=np.zeros(60))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_way", [None, 2])
def test_tasks_are_as_uneven_as_they_come(name, n_way):
    if n_way and name in REGRESSORS:
        pytest.skip("regressors have no n_way")
    X, y, _ = group_data(name, 90)
    task = np.repeat(np.arange(8), [1, 2, 3, 1, 40, 20, 2, 21])
    if name in CLASSIFIERS:
        y = y.copy()
        y[task == 5] = 1  # a task of one class
        y[task == 7] = np.arange(21) % 3
    changes = {"n_way": n_way} if name in CLASSIFIERS else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = quick(name, n_support=(1, 8), n_estimators=2, **changes)
        if n_way and name not in NOVEL:
            with pytest.raises(ValueError, match="A task has 3 classes, and the head"):
                model.fit(X, y, task=task).predict(X, task=task)
            y = np.minimum(y, 1)
        model.fit(X, y, task=task)
        found = answers(model, X, task)
    assert np.isfinite(found).all()
    if name in CLASSIFIERS:
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert set(model.predict(X, task=task)) <= set(y)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_labels_are_left_out(name):
    X, y, task = group_data(name)
    hidden = np.arange(60) % 7 == 0
    with_gaps = np.where(hidden, np.nan, y)
    model = quick(name).fit(X, with_gaps, task=task)
    rows = ~hidden
    plain = quick(name).fit(X[rows], y[rows], task=task[rows])
    # Encodings look at labelled rows alone.
    np.testing.assert_allclose(answers(model, X, task), answers(plain, X, task))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_to_predict_does_not_matter(name, fits):
    model, X, _, task = fits(name)
    order = np.random.default_rng(0).permutation(60)
    expected = answers(model, X, task)
    # The square root of a distance near 0 halves the digits.
    rtol = 1e-6 if name == "siamese_classifier" else 1e-9
    found = answers(model, X[order], task[order])
    np.testing.assert_allclose(found, expected[order], rtol=rtol, atol=1e-12)
    one = answers(model, X[[3]], task[[3]])
    np.testing.assert_allclose(one, expected[[3]], rtol=rtol, atol=1e-12)


# -- unknown tasks ---------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_task_is_predicted_by_the_meta_model(name, fits):
    model, X, _, task = fits(name)
    mixed = np.where(np.arange(60) < 20, 777, task)
    with pytest.warns(UserWarning, match="1 task that fit did not see: 777") as caught:
        found = answers(model, X, mixed)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_allclose(
        found[20:], answers(model, X, task)[20:], rtol=1e-9, atol=1e-12
    )
    # Whatever the unknown task is called, there is one meta-model.
    with pytest.warns(UserWarning, match="2 tasks that fit did not see: 777, 778"):
        other = answers(model, X, np.where(np.arange(60) < 10, 778, mixed))
    np.testing.assert_allclose(other, found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_task_can_be_an_error(name):
    X, y, task = group_data(name)
    model = quick(name, unknown_task="error").fit(X, y, task=task)
    with pytest.raises(ValueError, match="1 task that fit did not see: 777"):
        model.predict(X, task=np.where(task == 10, 777, task))
    with pytest.raises(ValueError, match="predict needs the task of each row"):
        model.predict(X)


# -- adapt -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_adapt_leaves_the_estimator_as_it_was(name, fits):
    model, X, _, task = fits(name)
    before, expected = weights(model), answers(model, X, task)
    adapted = model.adapt(*new_data(name)[:2])
    adapted.predict(X)
    assert adapted is not model
    assert weights(model).keys() == before.keys()
    for key, value in weights(model).items():
        assert torch.equal(value, before[key])
    np.testing.assert_array_equal(answers(model, X, task), expected)
    assert model.n_tasks_ == 6
    assert model.task_names_.tolist() == list(range(10, 16))


@pytest.mark.parametrize("name", NAMES)
def test_an_adapted_estimator_knows_the_new_tasks_alone(name, fits):
    model, X, _, task = fits(name)
    X_new, y_new, ids = new_data(name, (50, 51))
    adapted = model.adapt(X_new, y_new, task=ids)
    assert adapted.n_tasks_ == 2
    assert adapted.task_names_.tolist() == [50, 51]
    with pytest.warns(UserWarning, match="6 tasks that adapt did not see"):
        adapted.predict(X, task=task)
    anonymous = model.adapt(X_new, y_new)
    assert anonymous.n_tasks_ == 1
    assert anonymous.predict(X).shape == (60,)
    single = model.adapt(X_new[:10], y_new[:10], task=ids[:10])
    assert single.task_names_.tolist() == [50]


@pytest.mark.parametrize("name", NAMES)
def test_several_tasks_at_once_are_adapted_one_by_one(name, fits):
    model, X, _, _ = fits(name)
    X_new, y_new, ids = new_data(name, (50, 51, 52))
    keep = np.arange(30) < 26  # uneven
    X_new, y_new, ids = X_new[keep], y_new[keep], ids[keep]
    together = model.adapt(X_new, y_new, task=ids)
    for one in (50, 51, 52):
        own = ids == one
        alone = model.adapt(X_new[own], y_new[own])
        np.testing.assert_allclose(
            answers(together, X, np.full(60, one)), answers(alone, X), atol=1e-9
        )


@pytest.mark.parametrize("name", NAMES)
def test_adapting_again_is_adapting_once_to_all_rows(name, fits):
    model, X, _, _ = fits(name)
    X_new, y_new, ids = new_data(name, (50, 51))
    # Rows of one id, with and without saying it.
    once = model.adapt(X_new[:10], y_new[:10])
    twice = model.adapt(X_new[:6], y_new[:6]).adapt(X_new[6:10], y_new[6:10])
    np.testing.assert_allclose(answers(twice, X), answers(once, X), atol=1e-9)
    # New ids become further tasks.
    first = np.arange(20) < 13
    once = model.adapt(X_new, y_new, task=ids)
    twice = model.adapt(X_new[first], y_new[first], task=ids[first])
    twice = twice.adapt(X_new[~first], y_new[~first], task=ids[~first])
    assert twice.task_names_.tolist() == [50, 51]
    more = twice.adapt(X_new[:10] + 1, y_new[:10], task=np.full(10, 49))
    assert more.task_names_.tolist() == [49, 50, 51]
    assert twice.task_names_.tolist() == [50, 51]
    for found in (twice, more):
        for one in (50, 51):
            asked = np.full(60, one)
            np.testing.assert_allclose(
                answers(found, X, asked), answers(once, X, asked), atol=1e-9
            )
    with pytest.raises(ValueError, match="is adapted to 2 tasks; pass the task"):
        twice.adapt(X_new, y_new)
    # From a single id to a second one.
    single = model.adapt(X_new[:10], y_new[:10], task=ids[:10])
    grown = single.adapt(X_new[10:], y_new[10:], task=ids[10:])
    assert grown.task_names_.tolist() == [50, 51]
    asked = np.full(60, 50)
    np.testing.assert_allclose(
        answers(grown, X, asked), answers(once, X, asked), atol=1e-9
    )


@pytest.mark.parametrize("name", NOVEL)
def test_rows_of_further_classes_join_those_there_are(name, fits):
    model, X, _, _ = fits(name)
    X_new = np.asarray(X[:30])
    y_new = np.repeat(["b", "d", "c"], 10)
    once = model.adapt(X_new, y_new)
    # The second call brings a class by itself.
    twice = model.adapt(X_new[:20], y_new[:20]).adapt(X_new[20:], y_new[20:])
    assert once.classes_.tolist() == twice.classes_.tolist() == ["b", "c", "d"]
    np.testing.assert_allclose(answers(twice, X), answers(once, X), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_other_tasks_than_the_one_adapted_to_are_named(name, fits):
    model, X, _, _ = fits(name)
    X_new, y_new, ids = new_data(name)
    adapted = model.adapt(X_new, y_new, task=ids)
    expected = answers(adapted, X)
    np.testing.assert_array_equal(answers(adapted, X, np.full(60, 50)), expected)
    asked = np.where(np.arange(60) < 3, 99, 50)
    with pytest.warns(UserWarning, match=r"adapted to task 50.*such as '99'") as caught:
        found = answers(adapted, X, asked)
    assert len(caught) == 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_one_adapted_task_needs_no_task_column(name):
    X, y, task = group_data(name)
    frame = pd.DataFrame(X, columns=list("abc")).assign(shop=task.astype(str))
    model = quick(name, task_column="shop").fit(frame, y)
    X_new, y_new, _ = new_data(name)
    new = pd.DataFrame(X_new, columns=list("abc"))
    adapted = model.adapt(new, y_new)
    said = model.adapt(new.assign(shop="50"), y_new)
    assert said.task_names_.tolist() == ["50"]
    expected = answers(adapted, new)
    np.testing.assert_array_equal(answers(said, new), expected)
    np.testing.assert_array_equal(answers(said, new.assign(shop="50")), expected)
    array = np.c_[X, task]
    model = quick(name, task_column=3).fit(array, y)
    adapted = model.adapt(X_new, y_new)
    np.testing.assert_array_equal(answers(adapted, X_new), expected)
    grown = adapted.adapt(X_new, y_new)
    assert grown.predict(X_new).shape == (10,)


@pytest.mark.parametrize("name", CLOSED)
def test_a_weight_of_two_is_two_rows_in_an_adaptation(name, fits):
    model, X, _, _ = fits(name)
    X_new, y_new, _ = new_data(name)
    weight = np.arange(10) % 3
    rows = np.repeat(np.arange(10), weight)
    weighted = model.adapt(X_new, y_new, sample_weight=weight)
    repeated = model.adapt(X_new[rows], y_new[rows])
    np.testing.assert_allclose(answers(weighted, X), answers(repeated, X), atol=1e-9)


# -- through the tools of scikit-learn -------------------------------------------


def table_data(name):
    X, y, task = group_data(name)
    return np.c_[X, task], y, task


@pytest.mark.parametrize("name", NAMES)
def test_adaptation_passes_through_a_search_over_a_pipeline(name):
    table, y, task = table_data(name)
    pipe = make_pipeline(FunctionTransformer(), quick(name, task_column=3))
    key = f"{type(pipe[-1]).__name__.lower()}__lr"
    scorer = make_few_shot_scorer(n_shots=5, n_episodes=2, random_state=0)
    search = GridSearchCV(
        pipe, {key: [0.01, 0.03]}, scoring=scorer, cv=GroupKFold(2), error_score="raise"
    ).fit(table, y, groups=task)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    X_new, y_new, ids = new_data(name)
    new = np.c_[X_new, ids]
    adapted = adapt(search, new, y_new)
    direct = search.best_estimator_[-1].adapt(new, y_new)
    np.testing.assert_array_equal(adapted.predict(new), direct.predict(new))


@pytest.mark.parametrize("name", NAMES)
def test_adapted_is_cross_validated(name, fits):
    model, X, y, _ = fits(name)
    scores = cross_val_score(
        Adapted(model), X[:30], y[:30], cv=KFold(3), error_score="raise"
    )
    assert np.isfinite(scores).all()


def test_few_shot_validation_beside_every_baseline():
    X, y, task = group_data("meta_ridge_regressor", 120, 8)
    table = np.c_[X, task]
    result = few_shot_validate(
        quick("meta_ridge_regressor", task_column=3),
        table,
        y,
        3,
        cv=2,
        n_shots=(0, 2, 5),
        baselines="all",
        n_episodes=2,
        random_state=0,
    )
    text = repr(result) + str(vars(result).keys())
    assert text
    with config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            quick("meta_ridge_regressor", task_column=3),
            table,
            y,
            cv=GroupKFold(2),
            scoring=make_few_shot_scorer(n_shots=3, n_episodes=1, random_state=0),
            params={"groups": task},
            error_score="raise",
        )
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_any_splitter_chooses_the_best_iteration(name):
    X, y, task = group_data(name)
    splits = list(GroupKFold(3).split(X, y, task))
    for cv in (splits, KFold(3, shuffle=True, random_state=0), 2):
        model = quick(name, cv=cv, n_estimators=3).fit(X, y, task=task)
        assert np.isfinite(answers(model, X, task)).all()
        assert model.history_[-1]["valid_loss"] > 0


# -- ensembles and chunks --------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_ensemble_averages_its_members(name, fits):
    _, X, y, task = fits(name)
    model = quick(name, n_estimators=3).fit(X, y, task=task)
    assert model.n_iter_.shape == (3,)
    assert np.isfinite(answers(model, X, task)).all()
    adapted = model.adapt(*new_data(name)[:2])
    members = []
    for k in range(3):
        one = pickle.loads(pickle.dumps(adapted))
        one.net_ = one.net_.take([k])
        members.append(answers(one, X))
    assert not np.allclose(members[0], members[1])
    np.testing.assert_allclose(answers(adapted, X), np.mean(members, axis=0), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_chunks_changes_nothing(name, fits):
    model, X, y, task = fits(name)
    chunked = quick(name, dtype="float64", task_chunk_size=2).fit(X, y, task=task)
    np.testing.assert_allclose(
        answers(chunked, X, task), answers(model, X, task), atol=1e-9
    )
    X_new, y_new, ids = new_data(name, (50, 51, 52))
    found = [
        answers(m.adapt(X_new, y_new, task=ids), X_new, ids) for m in (chunked, model)
    ]
    np.testing.assert_allclose(*found, atol=1e-9)


# -- refusals --------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_malformed_rows_are_refused_by_adapt(name, fits):
    model, X, y, task = fits(name)
    X_new, y_new, _ = new_data(name)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
        model.adapt(X_new[:, :2], y_new)
    with pytest.raises(ValueError, match=r"0 sample|0 rows"):
        model.adapt(X_new[:0], y_new[:0])
    with pytest.raises(ValueError, match=r"no labels|0 rows"):
        model.adapt(X_new, np.full(10, np.nan))
    with pytest.raises(ValueError, match="y is None"):
        model.adapt(X_new, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.adapt(X_new, y_new[:5])
    with pytest.raises(ValueError, match="weight"):
        model.adapt(X_new, y_new, sample_weight=np.full(10, -1.0))
    frame = pd.DataFrame(X, columns=list("abc"))
    named = quick(name, max_iter=2).fit(frame, y, task=task)
    with pytest.raises(ValueError, match="feature names"):
        named.adapt(frame.rename(columns={"a": "z"}), y)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_support", [-1, (5, 2), (1.5, 3), (1, 2, 3), ("a", 2)])
def test_wrong_numbers_of_support_rows_are_refused(name, n_support):
    X, y, task = group_data(name)
    with pytest.raises(ValueError, match="'n_support' parameter of"):
        quick(name, n_support=n_support).fit(X, y, task=task)


@pytest.mark.parametrize("name", [c for c in CLASSIFIERS if c not in NOVEL])
def test_classes_that_fit_did_not_see_are_refused(name, fits):
    model, X, y, task = fits(name)
    with pytest.raises(ValueError, match="9"):
        model.adapt(X[:4], [0.0, 1.0, 9.0, 9.0])
    by_way = quick(name, n_way=2).fit(X, y, task=task)
    with pytest.raises(ValueError, match="A task has 3 classes, and the head of this"):
        by_way.adapt(X[:4], [0.0, 1.0, 9.0, 9.0])
    new = by_way.adapt(X[:4], ["x", "y", "x", "y"])
    assert new.classes_.tolist() == ["x", "y"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_support_of_one_class_tells_nothing(name, fits):
    _, X, y, task = fits(name)
    changes = {} if name in NOVEL else {"n_way": 2}
    model = quick(name, **changes).fit(X, y, task=task)
    with pytest.raises(ValueError, match="has a single class, 'x'"):
        model.adapt(X[:3], ["x", "x", "x"])


# -- encodings -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_tables_with_many_categories(name):
    X, y, task = group_data(name, 120)
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["few"] = pd.Categorical([f"v{i % 3}" for i in range(120)])
    frame["many"] = [f"v{i % 40}" for i in range(120)]
    frame.loc[3, "a"] = np.nan
    model = quick(name, encoding=Auto()).fit(frame, y, task=task)
    before = weights(model)
    assert any("embedding" in key for key in before)
    found = answers(model, frame, task)
    assert np.isfinite(found).all()
    new = frame[:10].assign(many="unseen", few="v1")
    adapted = model.adapt(new, y[:10])
    assert np.isfinite(answers(adapted, frame)).all()


@pytest.mark.parametrize("name", NAMES)
def test_learned_frequencies(name):
    X, y, task = group_data(name)
    model = quick(name, encoding=Periodic(n_frequencies=3, n_units=2, sigma=0.3))
    model.fit(X, y, task=task)
    assert np.isfinite(answers(model, X, task)).all()
    assert np.isfinite(answers(model.adapt(*new_data(name)[:2]), X)).all()


# -- a user's own trunk ----------------------------------------------------------


def normed_trunk():
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 6)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_trunk_with_batch_norm_and_dropout(name):
    if name.startswith("reptile"):
        pytest.skip("see test_reptile_with_a_trunk")
    X, y, task = group_data(name)
    model = quick(name, architecture=TorchModule(normed_trunk), encoding=Standard())
    model.fit(X, y, task=task)
    moved = {k: v for k, v in weights(model).items() if "running_mean" in k}
    assert moved
    assert all((v != 0).any() for v in moved.values())
    found = answers(model, X, task)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(
        answers(model, X[:2], task[:2]), found[:2], rtol=1e-6, atol=1e-9
    )
    before = weights(model)
    adapted = model.adapt(*new_data(name)[:2])
    expected = answers(adapted, X)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(answers(adapted, X[:1]), expected[:1], atol=1e-6)
    np.testing.assert_array_equal(answers(adapted, X), expected)
    for key, value in weights(model).items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", ["reptile_regressor", "reptile_classifier"])
def test_reptile_with_a_trunk(name):
    X, y, task = group_data(name)
    trunk = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Tanh())
    model = quick(name, architecture=TorchModule(trunk), encoding=Standard())
    model.fit(X, y, task=task)
    assert np.isfinite(answers(model, X, task)).all()
    assert np.isfinite(answers(model.adapt(*new_data(name)[:2]), X)).all()


# -- losses that are not finite --------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inner_lr"), [("maml_regressor", 1e6), ("maml_classifier", 1e30)]
)
def test_inner_steps_that_are_too_long_are_named(name, inner_lr):
    X, y, task = group_data(name)
    model = quick(name, inner_lr=inner_lr, clip_norm=None)
    remedy = r"in task 1[0-5]\b.* smaller inner_lr"
    with pytest.raises(FloatingPointError, match=remedy):
        model.fit(X, y, task=task)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize("name", ["maml_regressor", "maml_classifier"])
def test_gradients_are_clipped_where_inner_steps_are_long(name):
    X, y, task = group_data(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = quick(name, inner_lr=10.0, clip_norm=1.0).fit(X, y, task=task)
    assert np.isfinite(answers(model, X, task)).all()


def far_data():
    """Draw groups of which one is too far from the others for float32."""
    X, y, task = group_data("maml_regressor")
    return np.where(task[:, None] == 12, 1e25 * X, X), y, task


def test_a_task_whose_losses_are_not_finite_is_left_out():
    X, y, task = far_data()
    model = quick("maml_regressor", encoding=Raw(), clip_norm=None)
    with pytest.warns(ConvergenceWarning, match=r"of task 12 was not finite.*inner_lr"):
        model.fit(X, y, task=task)
    others = task != 12
    assert np.isfinite(model.predict(X[others], task=task[others])).all()


def test_an_adaptation_that_is_not_finite_is_named():
    X, y, task = group_data("maml_regressor")
    model = quick("maml_regressor", encoding=Raw(), clip_norm=None)
    model.fit(X, y, task=task)
    adapted = model.adapt(1e150 * X[:10], y[:10], task=np.full(10, 77))
    with pytest.raises(FloatingPointError, match=r"to task 77 gives no .*inner_lr"):
        adapted.predict(X)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_label_missing_in_later_rows_stays(name):
    X, y = regression_data(n_tasks=5)
    model = quick(name).fit(X, y[:, :3])
    adapted = model.adapt(X[:30], y[:30, 3:])
    later = np.c_[y[30:, 3], np.full(30, np.nan)]
    twice = adapted.adapt(X[30:], later)
    once = model.adapt(X, np.r_[y[:30, 3:], later])
    np.testing.assert_allclose(twice.predict(X), once.predict(X), atol=1e-9)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_new_column_of_more_classes_than_the_head_tells_apart(name):
    X, y = regression_data(n_tasks=6)
    model = quick(name).fit(X, (y > 5).astype(float))
    three = np.digitize(y[:, 0], np.quantile(y[:, 0], [0.3, 0.6]))
    if name in NOVEL:
        assert model.adapt(X, three).predict_proba(X).shape == (60, 3)
        return
    with pytest.raises(ValueError, match="A task has 3 classes, and the head of this"):
        model.adapt(X, three)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_reach_running_statistics(name):
    X, y, _ = group_data(name)
    task = np.repeat(np.arange(6), [2, 4, 4, 10, 20, 20])
    trunk = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 8), nn.Tanh())
    model = quick(
        name,
        architecture=TorchModule(trunk),
        encoding=Raw(),
        n_support=(2, 8),
        max_iter=60,
        early_stopping=False,
    ).fit(X + 5, y, task=task)
    means = next(v for k, v in weights(model).items() if "running_mean" in k)
    np.testing.assert_allclose(means.numpy().ravel(), 5, atol=0.6)
