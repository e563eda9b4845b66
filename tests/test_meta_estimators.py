"""What holds for every meta-learner as an estimator of scikit-learn."""

import copy
import pickle
import random
import re
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.metadata_routing import get_routing_for_object
from skorch.callbacks import Callback
from skorch.history import History

from .instances import META, meta, row_task_data

NAMES = sorted(META)

STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": (
        "stochastic fit: episodes are drawn over rows"
    )
}
BY_MEMBER = {
    "check_transformer_n_iter": "n_iter_ is an array, and the check expects a number"
}


# Checks of classifiers are many, and a few steps pass them.
FEWER = {
    name: {"max_iter": 20}
    for name in NAMES
    if name.startswith(("maml_c", "meta_ridge_c"))
}


def expected_failures(estimator):
    return STOCHASTIC | (BY_MEMBER if hasattr(estimator, "transform") else {})


@pytest.mark.filterwarnings("ignore:Task 0 has a single class:UserWarning")
@parametrize_with_checks(
    # The second member learns from the rows of the fold that has weights.
    [meta(name, n_estimators=2, **FEWER.get(name, {})) for name in NAMES],
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_meta_learners_pass_every_check_of_scikit_learn_but_these(estimator, check):
    check(estimator)


# -- data and fits ---------------------------------------------------------------


def meta_data(name, n_groups=6, n_samples=None, *, seed=0):
    """Draw groups of rows, with numbers or two classes as labels."""
    X, y, task = row_task_data(n_samples or 10 * n_groups, n_groups, seed=seed)
    return X, y if name.endswith("regressor") else (y > 0).astype(int), task


def quick(name, **changes):
    return meta(name, **{"max_iter": 10, "n_support": 2} | changes)


def answers(model, X, task):
    """Predict whatever the estimator predicts."""
    answer = getattr(model, "predict_proba", model.predict)
    return answer(X, task=task)


@pytest.fixture(scope="module")
def fits():
    """Fit each estimator once, when it is asked for."""
    found = {}

    def fit(name):
        if name not in found:
            X, y, task = meta_data(name)
            found[name] = quick(name).fit(X, y, task=task), X, y, task
        return found[name]

    return fit


# -- the same again --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_random_state_gives_one_fit(name, fits):
    model, X, y, task = fits(name)
    torch.manual_seed(7)
    again = quick(name).fit(X, y, task=task)
    np.testing.assert_array_equal(answers(again, X, task), answers(model, X, task))
    other = quick(name, random_state=1).fit(X, y, task=task)
    assert not np.array_equal(answers(other, X, task), answers(model, X, task))


@pytest.mark.parametrize("name", NAMES)
def test_random_state_instances_and_none_work(name, fits):
    _, X, y, task = fits(name)
    found = [
        answers(
            quick(name, random_state=np.random.RandomState(3)).fit(X, y, task=task),
            X,
            task,
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    quick(name, random_state=None, max_iter=2).fit(X, y, task=task)


@pytest.mark.parametrize("name", NAMES)
def test_copies_predict_the_same(name, fits, tmp_path):
    model, X, y, task = fits(name)
    expected = answers(model, X, task)
    joblib.dump(model, tmp_path / "model.joblib")
    copies = [
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        joblib.load(tmp_path / "model.joblib"),
        clone(model).fit(X, y, task=task),
    ]
    for copied in copies:
        assert type(copied) is type(model)
        np.testing.assert_array_equal(answers(copied, X, task), expected)
        assert copied.history_[:, "train_loss"] == model.history_[:, "train_loss"]


@pytest.mark.parametrize("name", NAMES)
def test_copies_adapt_the_same(name, fits):
    model, X, y, task = fits(name)
    one = task == 10
    adapted = model.adapt(X[one], y[one])
    expected = answers(adapted, X, None)
    for copied in (pickle.loads(pickle.dumps(adapted)), copy.deepcopy(adapted)):
        np.testing.assert_array_equal(answers(copied, X, None), expected)
        # The id of a task without an id survives, so that rows can be added.
        more = [m.adapt(X[~one][:5], y[~one][:5]) for m in (copied, adapted)]
        np.testing.assert_array_equal(*[answers(m, X, None) for m in more])
    assert not hasattr(clone(adapted), "net_")


@pytest.mark.parametrize("name", NAMES)
def test_pickles_hold_rows_and_no_weights_by_task(name):
    sizes = []
    for n_groups in (10, 60):
        X, y, task = meta_data(name, n_groups, n_samples=240)
        model = quick(name, max_iter=2).fit(X, y, task=task)
        before = len(pickle.dumps(model))
        answers(model, X, task)
        sizes.append(len(pickle.dumps(model)))
        # Predicting computes 60 adapted models and keeps none of them.
        assert sizes[-1] < before + 100
    weights = sum(p.numel() for p in model.architecture_.parameters())
    # 50 tasks more are 50 names more; 50 heads alone would be about 7 kB.
    assert sizes[1] - sizes[0] < 50 * 60 < 50 * weights * 4


@pytest.mark.parametrize("name", NAMES)
def test_bad_parameters_are_refused_with_their_names(name):
    X, y, task = meta_data(name)
    for parameter in meta(name).get_params(deep=False):
        if parameter == "random_state":
            continue
        model = quick(name).set_params(**{parameter: object()})
        with pytest.raises((ValueError, TypeError), match=f"'{parameter}' parameter"):
            model.fit(X, y, task=task)
        assert not hasattr(model, "net_")


# -- the world outside -----------------------------------------------------------


def _global_state():
    return {
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("random_state", [0, None])
def test_global_state_is_left_alone(name, random_state):
    X, y, task = meta_data(name)
    before = _global_state()
    model = quick(name, random_state=random_state, max_iter=2).fit(X, y, task=task)
    assert _global_state() == before
    answers(model, X, task)
    assert _global_state() == before
    answers(model.adapt(X, y, task=task + 100), X, task + 100)
    assert _global_state() == before


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone_and_parameters_too(name, fits):
    # The drawn arrays are read-only.
    _, X, y, task = fits(name)
    model = quick(name, max_iter=2)
    before = {key: repr(value) for key, value in model.get_params().items()}
    model.fit(X, y, task=task).adapt(X[:10], y[:10]).predict(X)
    assert {key: repr(value) for key, value in model.get_params().items()} == before


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_that_raises_leaves_the_estimator_as_it_was(name, fits):
    model, X, y, task = fits(name)
    model = copy.deepcopy(model)
    expected = answers(model, X, task)
    with pytest.raises(ValueError, match=r"NaN|label"):
        model.fit(X, np.full(len(y), np.nan), task=task)
    np.testing.assert_array_equal(answers(model, X, task), expected)


# -- callbacks and history -------------------------------------------------------


class CountEpochs(Callback):
    """Count what skorch tells of."""

    def __init__(self):
        self.seen = {"begin": 0, "epoch": 0, "end": 0}

    def on_train_begin(self, net, **kwargs):
        self.seen["begin"] += 1

    def on_epoch_end(self, net, **kwargs):
        self.seen["epoch"] += 1

    def on_train_end(self, net, **kwargs):
        self.seen["end"] += 1


@pytest.mark.parametrize("name", NAMES)
def test_callbacks_of_skorch_see_every_epoch(name):
    X, y, task = meta_data(name)
    count = CountEpochs()
    model = quick(name, max_iter=35, skorch_callbacks=[count]).fit(X, y, task=task)
    # An epoch has ten steps at least.
    assert count.seen == {"begin": 1, "epoch": 4, "end": 1}
    assert model.n_epochs_ == len(model.history_) == 4


@pytest.mark.parametrize("name", NAMES)
def test_callbacks_of_scikit_learn_change_nothing(name, fits, capsys):
    plain, X, y, task = fits(name)
    model = quick(name).set_callbacks(ProgressBar()).fit(X, y, task=task)
    np.testing.assert_array_equal(answers(model, X, task), answers(plain, X, task))
    pickle.dumps(model)


@pytest.mark.parametrize("name", NAMES)
def test_the_history_is_plain_python(name, fits):
    model, *_ = fits(name)
    assert isinstance(model.history_, History)
    for i, row in enumerate(model.history_):
        assert row["epoch"] == i + 1
        assert type(row["dur"]) is float
        for loss in ("train_loss", "valid_loss"):
            assert type(row[loss]) is float
            assert np.isfinite(row[loss])
            assert type(row[f"{loss}_best"]) is bool


@pytest.mark.parametrize("name", NAMES)
def test_the_best_iteration_lies_between_one_and_all(name):
    X, y, task = meta_data(name)
    model = quick(name, max_iter=103, n_estimators=2).fit(X, y, task=task)
    assert model.n_iter_.shape == (2,)
    assert np.issubdtype(model.n_iter_.dtype, np.integer)
    assert (model.n_iter_ >= 1).all()
    assert (model.n_iter_ <= 103).all()
    # Epochs of ten steps; the last one is shorter.
    assert model.n_epochs_ == 11
    assert all(n == 103 or n % 10 == 0 for n in model.n_iter_)
    without = quick(name, max_iter=7, early_stopping=False).fit(X, y, task=task)
    assert without.n_iter_.tolist() == [7]


@pytest.mark.parametrize("name", NAMES)
def test_patience_ends_a_fit(name):
    X, y, task = meta_data(name)
    model = quick(name, max_iter=500, n_iter_no_change=15, lr=0.5)
    model.fit(X, y, task=task)
    # 15 steps are two epochs of ten.
    assert model.n_epochs_ < 50
    assert model.n_iter_[0] == 10 * (model.n_epochs_ - 2)


@pytest.mark.parametrize("name", NAMES)
def test_verbose_prints_a_line_an_epoch(name, capsys):
    X, y, task = meta_data(name)
    quick(name, max_iter=30, verbose=1).fit(X, y, task=task)
    printed = capsys.readouterr().out
    assert "train_loss" in printed
    assert len(re.findall(r"^\s+\d", printed, re.M)) == 3


# -- routing ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_task_is_requested_by_default(name):
    with config_context(enable_metadata_routing=True):
        requests = get_routing_for_object(meta(name))
        methods = ["fit", "predict", "score"]
        if not name.endswith("regressor"):
            methods.append("predict_proba")
        for method in methods:
            assert getattr(requests, method).requests["task"] is True


@pytest.mark.parametrize("name", NAMES)
def test_task_is_routed_through_pipelines_and_cross_validation(name, fits):
    model, X, y, task = fits(name)
    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(FunctionTransformer(), quick(name)).fit(X, y, task=task)
        np.testing.assert_array_equal(
            pipe.predict(X, task=task), model.predict(X, task=task)
        )
        # Rows are split, so that each fold has all tasks.
        groups = np.arange(len(X)) // 2
        scores = cross_validate(
            quick(name),
            X,
            y,
            cv=GroupKFold(2),
            params={"task": task, "groups": groups},
            error_score="raise",
        )
    assert np.isfinite(scores["test_score"]).all()


# -- numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_both_dtypes_learn_about_the_same(name):
    X, y, task = meta_data(name)
    found = []
    for dtype in ("float32", "float64"):
        model = quick(name, dtype=dtype, max_iter=5).fit(X, y, task=task)
        found.append(answers(model, X, task))
        assert found[-1].dtype == np.float64
        labels = model.predict(X.astype(dtype), task=task)
        assert labels.shape == y.shape
    np.testing.assert_allclose(*found, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_every_meta_learner_learns(name):
    X, y, task = meta_data(name, 12, n_samples=240)
    rows = np.arange(len(X)) % 4 > 0
    model = meta(name, max_iter=100).fit(X[rows], y[rows], task=task[rows])
    score = model.score(X[~rows], y[~rows], task=task[~rows])
    assert score > (0.5 if name.endswith("regressor") else 0.65)
