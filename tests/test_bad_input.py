"""One clear error, or one documented behaviour, for each kind of bad input."""

import dataclasses
import importlib
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import KFold
from skorch.callbacks import Callback

from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.weighting import Uncertainty

from .instances import (
    ESTIMATORS,
    classification_data,
    exact,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)


def data_of(kind):
    return regression_data() if kind == "regressor" else classification_data()


def cheap(kind, **changes):
    return small(kind, **{"max_epochs": 2} | changes)


def fit(model, X, y):
    """Fit; an interrupt that nobody asked for fails the test and not the whole run."""
    try:
        return model.fit(X, y)
    except KeyboardInterrupt as error:
        raise AssertionError("fit was interrupted by itself") from error


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# -- sizes -----------------------------------------------------------------------


@pytest.mark.parametrize("task_column", [None, 0])
def test_no_rows(kind, task_column):
    X, y = np.empty((0, 3)), np.empty((0, 2))
    with pytest.raises(ValueError, match=r"0 sample\(s\).*minimum of 2 is required"):
        cheap(kind, task_column=task_column).fit(X, y)


@pytest.mark.parametrize("task_column", [None, 0])
def test_one_row(kind, task_column):
    with pytest.raises(ValueError, match=r"1 sample\(s\).*minimum of 2 is required"):
        cheap(kind, task_column=task_column).fit(np.ones((1, 3)), [1])


def test_one_row_with_a_label(kind):
    X, y = data_of(kind)
    y = y[:, 0].copy()
    y[1:] = np.nan
    with pytest.raises(ValueError, match=r"1 sample.* with a label.* minimum of 2"):
        cheap(kind).fit(X, y)


def test_two_rows_are_enough(kind):
    X, _ = data_of(kind)
    model = cheap(kind).fit(X[:2], [0, 1])
    assert np.isfinite(model.predict(X)).all()


def test_no_columns(kind):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=.*minimum of 1"):
        cheap(kind).fit(X[:, :0], y)


def test_no_columns_beside_the_task_column(kind):
    _, y, task = row_task_data()
    with pytest.raises(ValueError, match="0 feature"):
        cheap(kind, task_column=0).fit(task[:, None], y > 0)


def test_no_label_columns(kind):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match="y has 0 columns"):
        cheap(kind).fit(X, y[:, :0])
    with pytest.raises(ValueError, match="y has 0 columns"):
        cheap(kind).fit(X, pd.DataFrame(index=range(len(X))))


@pytest.mark.parametrize("X", [np.ones(10), np.ones((10, 2, 2))], ids=["1d", "3d"])
@pytest.mark.parametrize("task_column", [None, 0])
def test_tables_of_another_rank(kind, X, task_column):
    with pytest.raises(ValueError, match=r"Expected 2D array|dim 3|got 3D array"):
        cheap(kind, task_column=task_column).fit(X, np.arange(10) % 2)


def test_labels_of_another_rank(kind):
    X, y = data_of(kind)
    with pytest.raises(
        ValueError, match=r"y should be a 1d array.*got .*\(\d+, \d, 1\)"
    ):
        cheap(kind).fit(X, y[:, :, None])


def test_no_y(kind):
    X, _ = data_of(kind)
    with pytest.raises(
        ValueError, match="requires y to be passed, but the target y is"
    ):
        cheap(kind).fit(X, None)
    with pytest.raises(ValueError, match="requires y to be passed"):
        cheap(kind).fit(*data_of(kind)).score(X, None)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_tables(kind, make):
    X, y = data_of(kind)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        cheap(kind).fit(make(X), y)
    with pytest.raises(ValueError, match=r"Sparse y is not supported.*toarray"):
        cheap(kind).fit(X, make(y))


# -- lengths ---------------------------------------------------------------------


def test_y_of_another_length(kind):
    X, y = data_of(kind)
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[\d+, 7\]"
    ):
        cheap(kind).fit(X, y[:7])
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[\d+, 7\]"
    ):
        cheap(kind).fit(X, y).score(X, y[:7])


def test_task_of_another_length(kind):
    X, y, task = row_task_data()
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[120, 7\]"
    ):
        cheap(kind).fit(X, y > 0, task=task[:7])
    model = cheap(kind).fit(X, y > 0, task=task)
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[120, 7\]"
    ):
        model.predict(X, task=task[:7])


def test_task_of_another_rank(kind):
    X, y, task = row_task_data()
    with pytest.raises(ValueError, match=r"task must have shape \(n_samples,\)"):
        cheap(kind).fit(X, y > 0, task=task[:, None])


@pytest.mark.parametrize(
    "shape", [(7,), (60, 1), (60, 2), (3, 60), (60, 3, 1)], ids=str
)
def test_sample_weight_of_another_shape(shape):
    X, y = regression_data()
    with pytest.raises(ValueError, match=r"sample_weight\.shape == .*expected \(60,\)"):
        cheap("regressor").fit(X, y, sample_weight=np.ones(shape))
    model = cheap("regressor").fit(X, y)
    with pytest.raises(ValueError, match=r"sample_weight\.shape == .*expected \(60,\)"):
        model.score(X, y, sample_weight=np.ones(shape))


def test_weights_of_cells_for_one_task():
    X, y = regression_data()
    with pytest.raises(ValueError, match=r"expected \(60,\)"):
        cheap("regressor").fit(X, y[:, 0], sample_weight=np.ones((60, 2)))


def test_score_of_another_number_of_tasks(kind):
    X, y = data_of(kind)
    model = cheap(kind).fit(X, y[:, :2])
    with pytest.raises(ValueError, match="y has 1 columns, but there are 2 tasks"):
        model.score(X, y[:, 0])


# -- labels ----------------------------------------------------------------------


def test_a_task_without_labels_is_named(kind):
    X, y = data_of(kind)
    frame = pd.DataFrame(y[:, :2], columns=["height", "age"])
    frame["age"] = np.nan
    with pytest.raises(ValueError, match=r"Task 'age' has no labels.*drop the column"):
        cheap(kind).fit(X, frame)
    with pytest.raises(ValueError, match="Task 1 has no labels in y"):
        cheap(kind).fit(X, frame.to_numpy())


def test_a_row_task_without_labels_is_left_out(kind):
    X, y, task = row_task_data()
    y = (y > 0).astype(float)
    y[task == 13] = np.nan
    with pytest.warns(UserWarning, match="Task 13 has no labels in y and is left out"):
        model = cheap(kind).fit(X, y, task=task)
    assert 13 not in model.task_names_
    with pytest.warns(UserWarning, match="1 task that fit did not see: 13"):
        model.predict(X, task=task)


def test_no_labels_at_all(kind):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match="Task 0 has no labels"):
        cheap(kind).fit(X, np.full_like(y, np.nan))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values(kind, value):
    X, y = data_of(kind)
    broken = X.copy()
    broken[3, 1] = value
    with pytest.raises(ValueError, match="Input X contains infinity"):
        cheap(kind).fit(broken, y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        cheap(kind).fit(X, y).predict(broken)
    broken = pd.DataFrame(y, columns=[f"task {i}" for i in range(y.shape[1])])
    broken.iloc[3, 1] = value
    with pytest.raises(ValueError, match=r"y contains infinity in task 'task 1'.*NaN"):
        cheap(kind).fit(X, broken)


def test_values_too_large_for_the_dtype_are_not_called_infinite(kind):
    X, y = data_of(kind)
    X = X * 1e300
    assert np.isfinite(cheap(kind).fit(X, y).predict(X)).all()


def test_complex_values(kind):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match="Complex data not supported"):
        cheap(kind).fit(X + 1j, y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        cheap(kind).fit(X, y + 1j)
    with pytest.raises(ValueError, match="Complex data not supported"):
        cheap(kind, task_column=0).fit(X + 1j, y)


def test_strings_in_a_regression_column():
    X, y = regression_data()
    frame = pd.DataFrame(y, columns=["a", "b", "c"]).astype(object)
    frame.loc[7, "b"] = "tall"
    with pytest.raises(
        ValueError, match=r"Task 'b' must hold numbers.*'tall'.*classif"
    ):
        cheap("regressor").fit(X, frame)


def test_numbers_written_as_strings_are_numbers():
    X, y = regression_data()
    model = cheap("regressor").fit(X, y.astype(str).astype(object))
    np.testing.assert_allclose(
        model.predict(X), cheap("regressor").fit(X, y).predict(X)
    )


def test_numbers_in_a_classification_column():
    X, y = regression_data()
    with pytest.raises(
        ValueError, match=r"Unknown label type: continuous.*Task 0.*regre"
    ):
        cheap("classifier").fit(X, y)


def test_labels_that_do_not_sort():
    X, y = classification_data()
    mixed = y[:, 0].astype(object)
    mixed[::2] = "yes"
    with pytest.raises(ValueError, match=r"Task 0 mixes labels.*'float', 'str'"):
        cheap("classifier").fit(X, mixed)


def test_one_class_in_a_task_is_predicted_with_a_warning():
    X, _ = classification_data()
    with pytest.warns(UserWarning, match="Task 0 has a single class, 'only'"):
        model = cheap("classifier").fit(X, np.full(len(X), "only"))
    assert set(model.predict(X)) == {"only"}


def test_strings_in_the_table(kind):
    X, y = data_of(kind)
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"b": object})
    frame.loc[3, "b"] = "tall"
    with pytest.raises(ValueError, match="could not convert string to float: 'tall'"):
        cheap(kind).fit(frame, y)


# -- row tasks -------------------------------------------------------------------


@pytest.mark.parametrize("no_id", [None, np.nan, pd.NA, pd.NaT])
def test_ids_missing_in_task(kind, no_id):
    X, y, task = row_task_data()
    ids = task.astype(object)
    ids[[5, 9]] = no_id
    with pytest.raises(
        ValueError, match=r"task is missing in 2 rows.*position 5.*drop"
    ):
        cheap(kind).fit(X, y > 0, task=ids)
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=ids)
    with pytest.raises(ValueError, match="task is missing in 2 rows"):
        cheap(kind, task_column="store").fit(frame, y > 0)


def test_ids_missing_at_predict(kind):
    X, y, task = row_task_data()
    model = cheap(kind).fit(X, y > 0, task=task)
    ids = np.where(np.arange(120) == 4, np.nan, task)
    with pytest.raises(ValueError, match=r"task is missing in 1 rows.*position 4"):
        model.predict(X, task=ids)


@pytest.mark.parametrize(
    "make", [list, pd.Series, lambda ids: pd.Series(ids, dtype="str")]
)
def test_string_ids_missing_beside_strings(kind, make):
    X, y, task = row_task_data()
    ids = [f"store {t}" for t in task]
    ids[5] = np.nan
    with pytest.raises(ValueError, match=r"task is missing in 1 rows.*position 5"):
        cheap(kind).fit(X, y > 0, task=make(ids))


def test_ids_that_do_not_sort(kind):
    X, y, task = row_task_data()
    ids = task.astype(object)
    ids[task == 12] = "a store of another kind"
    with pytest.raises(ValueError, match=r"[Tt]ask.*'int', 'str'"):
        cheap(kind).fit(X, y > 0, task=ids)


def test_task_as_column_and_as_argument(kind):
    X, y, task = row_task_data()
    model = cheap(kind, task_column=0)
    with pytest.raises(ValueError, match="given twice: task_column=0 and the argument"):
        model.fit(X, y > 0, task=task)
    table = np.column_stack([task, X])
    with pytest.raises(ValueError, match=r"given twice.*[Kk]eep one"):
        model.fit(table, y > 0).predict(table, task=task)


def test_task_at_fit_and_not_at_predict_names_both_cures(kind):
    X, y, task = row_task_data()
    model = cheap(kind).fit(X, y > 0, task=task)
    for method in (model.predict, lambda X: model.score(X, y > 0)):
        with pytest.raises(ValueError, match=r"task=.*task_column"):
            method(X)


def test_task_at_predict_and_not_at_fit(kind):
    X, y, task = row_task_data()
    model = cheap(kind).fit(X, y > 0)
    with pytest.raises(ValueError, match=r"fitted without row tasks.*leave task out"):
        model.predict(X, task=task)


def test_a_task_column_that_is_not_there(kind):
    X, y, _ = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc"))
    with pytest.raises(ValueError, match=r"'store' is not a column of X; .*\['a', 'b'"):
        cheap(kind, task_column="store").fit(frame, y > 0)
    with pytest.raises(
        ValueError, match="'store' is not a column of X, which has no n"
    ):
        cheap(kind, task_column="store").fit(X, y > 0)
    for position in (3, -4):
        with pytest.raises(ValueError, match=f"task_column={position} .*has 3 columns"):
            cheap(kind, task_column=position).fit(X, y > 0)


def test_unseen_tasks_are_counted_and_the_first_are_named(kind):
    X, y, task = row_task_data()
    model = cheap(kind).fit(X, y > 0, task=task)
    with pytest.warns(
        UserWarning, match="7 tasks .*: 900, 901, 902, 903, 904, \\.\\.\\."
    ):
        model.predict(X, task=900 + np.arange(120) % 7)


# -- weights ---------------------------------------------------------------------


def test_negative_sample_weights(kind):
    X, y = data_of(kind)
    weight = np.ones(len(X))
    weight[4] = -2
    with pytest.raises(ValueError, match=r"Negative values.*sample_weight.*-2"):
        cheap(kind).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sample_weights_that_are_no_numbers(kind, value):
    X, y = data_of(kind)
    weight = np.ones(len(X))
    weight[4] = value
    with pytest.raises(ValueError, match="sample_weight contains NaN or infinity"):
        cheap(kind).fit(X, y, sample_weight=weight)


def test_sample_weights_all_zero(kind):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match=r"weights.*non-zero"):
        cheap(kind).fit(X, y, sample_weight=np.zeros(len(X)))


def test_sample_weights_all_zero_for_a_task(kind):
    X, y = data_of(kind)
    weight = np.ones(y.shape)
    weight[:, 1] = 0
    frame = pd.DataFrame(y, columns=[f"task {i}" for i in range(y.shape[1])])
    with pytest.raises(
        ValueError, match="Task 'task 1' has only zero in sample_weight"
    ):
        cheap(kind).fit(X, frame, sample_weight=weight)


def test_weights_where_labels_are_and_zeros_where_not_are_not_called_missing(kind):
    X, y = data_of(kind)
    y = y.copy()
    y[:30, 1] = np.nan
    weight = np.ones(y.shape)
    weight[30:, 1] = 0
    with pytest.raises(ValueError, match="Task 1"):
        cheap(kind).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize(
    ("task_weights", "message"),
    [
        ({"c": 1, "age": 2}, "names 'age', which is not a task.*'a', 'b', 'c'"),
        ([1, 2], r"shape \(2,\), but there are 3 tasks: 'a', 'b', 'c'"),
        (np.ones((3, 1)), r"shape \(3, 1\)"),
        ([1, -2, 1], "weight of task 'b' in task_weights is -2"),
        ([1, 1, np.nan], "weight of task 'c' in task_weights is nan"),
        ({"a": np.inf}, "weight of task 'a' in task_weights is inf"),
        ([0, 0, 0], "task_weights are all zero"),
    ],
    ids=str,
)
def test_bad_task_weights(task_weights, message):
    X, y = regression_data()
    y = pd.DataFrame(y, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match=message):
        cheap("regressor", task_weights=task_weights).fit(X, y)


def test_weights_for_unknown_row_tasks():
    X, y, task = row_task_data()
    with pytest.raises(ValueError, match="task_weights names 99, which is not a task"):
        cheap("regressor", task_weights={99: 2.0}).fit(X, y, task=task)


# -- names and parameters --------------------------------------------------------


def test_feature_names_changed(kind):
    X, y = data_of(kind)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = cheap(kind).fit(frame, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- e"):
        model.predict(frame.rename(columns={"d": "e"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


def test_feature_names_changed_beside_a_task_column(kind):
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=task)
    model = cheap(kind, task_column="store").fit(frame, y > 0)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["store", "a", "b", "c"]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.drop(columns="store"))


def test_another_number_of_columns(kind):
    X, y = data_of(kind)
    model = cheap(kind).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4"):
        model.predict(X[:, :3])


def test_predict_before_fit(kind):
    X, y = data_of(kind)
    model = cheap(kind)
    for call in (
        lambda: model.predict(X),
        lambda: model.score(X, y),
        lambda: model.adapt(X, y),
    ):
        with pytest.raises(NotFittedError):
            call()
    for name in ("history_", "architecture_", "estimators_", "validation_prediction_"):
        assert not hasattr(model, name)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("architecture", (16,)),
        ("weighting", "pcgrad"),
        ("encoding", "standard"),
        ("encoding", HardSharing()),
        ("weighting", Uncertainty),
        ("loss", "hinge"),
        ("unknown_task", "ignore"),
        ("task_column", 1.5),
        ("task_weights", "equal"),
        ("n_estimators", 0),
        ("cv", "3"),
        ("early_stopping", "yes"),
        ("n_iter_no_change", 0),
        ("lr", 0.0),
        ("weight_decay", -1.0),
        ("batch_size", 0),
        ("batch_size", "all"),
        ("max_epochs", 0),
        ("clip_norm", 0.0),
        ("device", 0),
        ("dtype", "float16"),
        ("skorch_callbacks", "progress"),
        ("random_state", -1),
        ("verbose", -1),
    ],
)
def test_bad_parameters_are_named(kind, parameter, value):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of MultiTaskNet"):
        cheap(kind, **{parameter: value}).fit(X, y)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"architecture": HardSharing((0,))}, "'hidden_layer_sizes' parameter of Hard"),
        (
            {"architecture": HardSharing(dropout=1.0)},
            "'dropout' parameter of HardShari",
        ),
        ({"encoding": Standard(clip=-1)}, "'clip' parameter of Standard"),
        ({"weighting": Uncertainty("0")}, "'init_log_var' parameter of Uncertainty"),
    ],
    ids=str,
)
def test_bad_parameters_of_strategies_are_named(kind, strategy, message):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match=message):
        cheap(kind, **strategy).fit(X, y)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (1, r"'cv' parameter of .* must be an int in the range \[2, inf\)"),
        ([], "cv gave no splits"),
        ([(np.arange(60), [])], "Split 0 of cv has 60 training and 0 held-out rows"),
        ([([], np.arange(60))], "Split 0 of cv has 0 training and 60 held-out rows"),
    ],
    ids=["one fold", "no splits", "nothing held out", "nothing to train on"],
)
def test_bad_splits(cv, message):
    X, y = regression_data()
    with pytest.raises(ValueError, match=message):
        cheap("regressor", cv=cv).fit(X, y)


def test_more_folds_than_rows_hold_out_one_row_each():
    X, y = regression_data(5)
    model = cheap("regressor", cv=20, n_estimators=5).fit(X, y)
    assert np.isfinite(model.validation_prediction_).all()


# -- devices ---------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_asked_for_and_absent(kind, device):
    X, y = data_of(kind)
    with pytest.raises(
        ValueError, match=f"device='{device}' was asked for.*device='cpu'"
    ):
        cheap(kind, device=device).fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_auto_is_the_cpu_without_cuda(kind):
    X, y = data_of(kind)
    assert cheap(kind, device="auto").fit(X, y).device_ == "cpu"


def test_a_device_that_is_none(kind):
    X, y = data_of(kind)
    with pytest.raises(
        ValueError, match=r"device='gpu' is not a device.*'auto', 'cpu'"
    ):
        cheap(kind, device="gpu").fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_model_from_a_device_that_is_absent_loads_on_the_cpu_with_a_warning(kind):
    X, y = data_of(kind)
    model = cheap(kind).fit(X, y)
    state = model.net_.__getstate__() | {"device": "cuda"}
    twin = type(model.net_).__new__(type(model.net_))
    with pytest.warns(UserWarning, match="'cuda'.*loaded on the CPU"):
        twin.__setstate__(state)
    table = np.array(X)
    np.testing.assert_array_equal(twin.predict(table), model.net_.predict(table))


# -- divergence ------------------------------------------------------------------


def test_fit_raises_when_all_members_diverge(kind):
    X, y = data_of(kind)
    if kind == "classifier":
        y = np.repeat(y, 2, axis=0)
        X = np.repeat(X, 2, axis=0)
    model = cheap(kind, lr=1e30, max_epochs=20, n_iter_no_change=None)
    told = r"All 2 members .*diverged, the first in epoch \d+: .*Lower lr"
    with pytest.raises(FloatingPointError, match=told):
        fit(model, X, y)
    assert not hasattr(model, "net_")


def poison(monkeypatch, members):
    """Make some members diverge, by a learning rate that is endless."""
    base = importlib.import_module("skmtl._base")
    fit_bank = base.fit_bank

    def poisoned(plans, data, **settings):
        plans = [
            dataclasses.replace(
                plan,
                hyperparameters=dataclasses.replace(plan.hyperparameters, lr=1e200),
            )
            if k in members
            else plan
            for k, plan in enumerate(plans)
        ]
        return fit_bank(plans, data, **settings)

    monkeypatch.setattr(base, "fit_bank", poisoned)


SPLITS = list(KFold(4, shuffle=True, random_state=0).split(np.zeros((60, 1))))


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_member_that_diverges_is_left_out_with_a_warning(
    monkeypatch, early_stopping, batch_size
):
    X, y = regression_data()
    settings = {
        "n_estimators": 4,
        "cv": SPLITS,
        "early_stopping": early_stopping,
        "batch_size": batch_size,
        "max_epochs": 10,
    }
    healthy = exact("regressor", **settings).fit(X, y)
    poison(monkeypatch, {1})
    with pytest.warns(
        ConvergenceWarning, match=r"Member 1 of .* diverged in epoch \d.* task \d.*lr"
    ) as record:
        model = fit(exact("regressor", **settings), X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert len(model.estimators_) == len(model.n_iter_) == 3
    assert model.loss_weights_.shape == (10, 3, 3)
    for mine, other in zip(model.estimators_, (0, 2, 3), strict=True):
        np.testing.assert_allclose(
            mine.predict(X), healthy.estimators_[other].predict(X), rtol=0, atol=1e-8
        )
    assert np.isfinite(model.predict(X)).all()


def test_rows_held_out_by_a_member_that_diverged_have_no_held_out_prediction(
    monkeypatch,
):
    X, y = regression_data()
    poison(monkeypatch, {1})
    settings = {"n_estimators": 4, "cv": SPLITS, "max_epochs": 5}
    model = exact("regressor", early_stopping=True, **settings)
    with pytest.warns(ConvergenceWarning, match="Member 1"):
        fit(model, X, y)
    lost = np.flatnonzero(np.isnan(model.validation_prediction_[:, 0]))
    np.testing.assert_array_equal(lost, np.sort(SPLITS[1][1]))


def test_a_member_that_meets_huge_held_out_values_is_named_with_epoch_and_task():
    X, y = regression_data()
    X = X.copy()
    X[SPLITS[2][1][0], 0] = 1e200  # endless in float32 for the member that holds it out
    model = cheap(
        "regressor", n_estimators=4, cv=SPLITS, max_epochs=5, encoding=Standard()
    )
    with pytest.warns(
        ConvergenceWarning, match=r"Member 2 .*epoch 1: .* task \d"
    ) as record:
        fit(model, X, y)
    assert len(record) == 1
    assert len(model.estimators_) == 3


def test_a_model_without_its_diverged_members_pickles_and_adapts(monkeypatch):
    X, y = regression_data()
    poison(monkeypatch, {0, 2})
    model = exact("regressor", n_estimators=4, max_epochs=5)
    with pytest.warns(ConvergenceWarning) as record:
        fit(model, X, missing(y))
    assert len(record) == 2
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert np.isfinite(model.adapt(X, y[:, 0]).predict(X)).all()
    assert all(math.isfinite(row["train_loss"]) for row in model.history_)


# -- interruption ----------------------------------------------------------------


class Interrupt(Callback):
    """Press Ctrl-C in the middle of an epoch, or before one."""

    def __init__(self, epoch, when):
        self.epoch = epoch
        self.when = when

    def on_epoch_begin(self, net, **kwargs):
        if self.when == "epoch" and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def on_batch_end(self, net, training, **kwargs):
        if self.when == "batch" and training and len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["batch", "epoch"])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_interrupt_leaves_a_usable_estimator_and_a_warning(
    kind, when, early_stopping
):
    X, y = data_of(kind)
    model = cheap(
        kind,
        max_epochs=20,
        early_stopping=early_stopping,
        skorch_callbacks=[Interrupt(4, when)],
    )
    with pytest.warns(
        ConvergenceWarning, match="interrupted after 3 of 20 epochs"
    ) as record:
        assert fit(model, X, y) is model
    assert len(record) == 1
    assert record[0].filename == __file__
    assert np.isfinite(model.score(X, y))
    assert model.n_epochs_ == 3
    assert len(model.loss_weights_) == 3
    assert (model.n_iter_ <= 3).all()
    assert hasattr(model, "validation_prediction_") is early_stopping
    assert all(math.isfinite(v) for v in model.history_[:3, "train_loss"])


def test_an_interrupt_before_an_epoch_keeps_what_the_epochs_before_it_learned():
    X, y = regression_data()
    interrupted = cheap(
        "regressor", max_epochs=20, skorch_callbacks=[Interrupt(4, "epoch")]
    )
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        fit(interrupted, X, y)
    asked = Interrupt(3, "end")
    asked.on_epoch_end = _stop_after(3)
    stopped = cheap("regressor", max_epochs=20, skorch_callbacks=[asked]).fit(X, y)
    np.testing.assert_array_equal(interrupted.predict(X), stopped.predict(X))


def _stop_after(epoch):
    def on_epoch_end(net, **kwargs):
        if len(net.history) == epoch:
            raise KeyboardInterrupt

    return on_epoch_end


@pytest.mark.parametrize("when", ["batch", "epoch"])
def test_an_interrupt_in_the_first_epoch_is_an_interrupt(kind, when):
    X, y = data_of(kind)
    model = cheap(kind, skorch_callbacks=[Interrupt(1, when)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not hasattr(model, "net_")


def test_tasks_of_one_row_each_are_warned_of(kind):
    X, y = data_of(kind)
    with pytest.warns(UserWarning, match=r"task_column=0 makes each of the \d+ rows"):
        cheap(kind, task_column=0).fit(X, y[:, 0])


@pytest.mark.parametrize("name", ["architecture", "weighting", "encoding"])
def test_a_choice_that_is_no_object_is_told_an_example(kind, name):
    X, y = data_of(kind)
    with pytest.raises(ValueError, match=rf"must be an object such as skmtl\.{name}\."):
        cheap(kind, **{name: "pcgrad"}).fit(X, y)
