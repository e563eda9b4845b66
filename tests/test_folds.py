"""Folds for the choice of the best epoch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, TimeSeriesSplit

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._tasks import check_task_data, validation_folds


def numbers(y, X=None, task=None, sample_weight=None):
    X = np.arange(float(len(y)))[:, None] if X is None else X
    estimator = MultiTaskNetRegressor()
    return check_task_data(estimator, X, y, task, sample_weight, kind="number")


def classes(y, task=None):
    X = np.arange(float(len(y)))[:, None]
    return check_task_data(MultiTaskNetClassifier(), X, y, task, None, kind="class")


def folds_of(data, cv=None, seed=0):
    return validation_folds(cv, data, np.random.RandomState(seed))


def held_out_counts(folds, groups):
    """Rows of each group that each fold holds out, (n_folds, n_groups)."""
    return np.array(
        [[(groups[v] == g).sum() for g in np.unique(groups)] for _, v in folds]
    )


def assert_partition(folds, rows):
    assert sorted(np.concatenate([valid for _, valid in folds])) == sorted(rows)


# -- None and integers -----------------------------------------------------------


@given(n_rows=st.integers(2, 60), n_folds=st.integers(2, 12), seed=st.integers(0, 9))
def test_folds_hold_out_every_row_once(n_rows, n_folds, seed):
    data = numbers(np.arange(float(n_rows)))
    folds = folds_of(data, n_folds, seed)
    assert len(folds) == min(n_folds, n_rows)
    assert_partition(folds, range(n_rows))
    sizes = [len(valid) for _, valid in folds]
    assert max(sizes) - min(sizes) <= 1
    for train, valid in folds:
        assert sorted([*train, *valid]) == list(range(n_rows))
        assert (np.diff(train) > 0).all()


def test_the_default_is_eight_folds():
    data = numbers(np.arange(80.0))
    default, eight = folds_of(data), folds_of(data, np.int64(8))
    assert len(default) == 8
    for (_, a), (_, b) in zip(default, eight, strict=True):
        np.testing.assert_array_equal(a, b)


def test_folds_are_drawn_at_random_and_repeatably():
    data = numbers(np.arange(40.0))
    first, again, other = (folds_of(data, seed=seed)[0][1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (np.diff(first) != 8).any()  # not every eighth row


@given(seed=st.integers(0, 99), n_folds=st.integers(2, 6))
def test_row_tasks_are_in_proportion(seed, n_folds):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(5), [30, 12, 7, 3, 2])
    rng.shuffle(task)
    data = numbers(rng.normal(size=54), task=task)
    counts = held_out_counts(folds_of(data, n_folds, seed), data.task)
    assert (np.ptp(counts, axis=0) <= 1).all()


@given(seed=st.integers(0, 99), n_folds=st.integers(2, 6))
def test_classes_are_in_proportion(seed, n_folds):
    y = np.repeat(["a", "b", "c"], [20, 9, 4]).astype(object)
    np.random.default_rng(seed).shuffle(y)
    data = classes(y)
    counts = held_out_counts(folds_of(data, n_folds, seed), data.y[:, 0])
    assert (np.ptp(counts, axis=0) <= 1).all()


@given(seed=st.integers(0, 99), n_folds=st.integers(2, 6))
def test_patterns_of_missing_labels_are_in_proportion(seed, n_folds):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(40, 2))
    y[rng.permutation(40)[:13], 1] = np.nan
    data = numbers(y)
    missing = np.isnan(data.y[:, 1])
    counts = held_out_counts(folds_of(data, n_folds, seed), missing)
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_missing_class_labels_are_in_proportion():
    y = np.array([0.0, 1.0, np.nan] * 8)
    y = np.stack([y, np.tile([0.0, 1.0], 12)], axis=1)
    data = classes(y)
    kinds = np.nan_to_num(data.y[:, 0], nan=2)
    counts = held_out_counts(folds_of(data, 4), kinds)
    assert (counts == 2).all()


def test_a_row_with_the_only_label_of_a_column_is_never_held_out():
    y = np.random.default_rng(0).normal(size=(20, 2))
    y[:, 1] = np.nan
    y[7, 1] = 1.0
    folds = folds_of(numbers(y), 4)
    assert_partition(folds, np.setdiff1d(np.arange(20), [7]))
    assert all(7 in train for train, _ in folds)


def test_a_row_with_the_only_label_of_a_class_is_never_held_out():
    y = np.array(["a", "b"] * 10 + ["c"], dtype=object)
    folds = folds_of(classes(y), 4)
    assert_partition(folds, np.arange(20))
    assert all(20 in train for train, _ in folds)


def test_the_only_row_of_a_row_task_is_never_held_out():
    task = np.array([0, 1] * 10 + [2])
    data = numbers(np.random.default_rng(0).normal(size=21), task=task)
    folds = folds_of(data, 4)
    assert all(20 in train for train, _ in folds)


@given(seed=st.integers(0, 99))
def test_training_rows_know_every_class(seed):
    y = np.repeat(["a", "b", "c"], [12, 3, 2]).astype(object)
    np.random.default_rng(seed).shuffle(y)
    data = classes(y)
    for train, _ in folds_of(data, 5, seed):
        assert set(data.y[train, 0]) == {0.0, 1.0, 2.0}


def test_rows_that_are_all_alone_train_and_validate_alike():
    folds = folds_of(classes(np.array(["a", "b", "c"], dtype=object)))
    for train, valid in folds:
        np.testing.assert_array_equal(train, [0, 1, 2])
        assert len(valid)


@pytest.mark.parametrize("cv", [0, 1, -3])
def test_too_few_folds_are_an_error(cv):
    with pytest.raises(ValueError, match=f"cv={cv} is not a number of folds"):
        folds_of(numbers(np.arange(9.0)), cv)


# -- splitters and iterables -----------------------------------------------------


@pytest.mark.parametrize(
    "cv",
    [
        KFold(4),
        KFold(3, shuffle=True, random_state=0),
        TimeSeriesSplit(3),
        ShuffleSplit(2, random_state=0),
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_splitters_split_as_they_do_elsewhere(cv):
    data = numbers(np.arange(20.0))
    expected = list(cv.split(data.X))
    folds = folds_of(data, cv)
    assert len(folds) == len(expected)
    for (train, valid), (wanted_train, wanted_valid) in zip(
        folds, expected, strict=True
    ):
        np.testing.assert_array_equal(train, np.sort(wanted_train))
        np.testing.assert_array_equal(valid, np.sort(wanted_valid))


def test_iterables_are_taken_as_they_come():
    splits = [([0, 1, 2], [3, 4]), (np.array([4, 3]), np.array([0]))]
    folds = folds_of(numbers(np.arange(6.0)), iter(splits))
    assert [(t.tolist(), v.tolist()) for t, v in folds] == [
        ([0, 1, 2], [3, 4]),
        ([3, 4], [0]),
    ]


def test_groups_reach_folds_through_an_iterable():
    groups = np.repeat(np.arange(5), 4)
    splits = list(GroupKFold(5).split(np.zeros(20), groups=groups))
    folds = folds_of(numbers(np.arange(20.0)), splits)
    for train, valid in folds:
        assert not set(groups[train]) & set(groups[valid])


def test_rows_without_weight_are_nobodys():
    weight = np.ones(20)
    weight[[0, 5, 19]] = 0
    data = numbers(np.arange(20.0), sample_weight=weight)
    assert_partition(folds_of(data, 4), range(17))
    assert set(data.rows) == set(range(20)) - {0, 5, 19}


def test_iterables_number_the_rows_given_to_fit():
    y = np.arange(8.0)
    y[2] = np.nan
    weight = np.array([1.0, 0, 1, 1, 1, 1, 1, 1])
    data = numbers(y, sample_weight=weight)
    np.testing.assert_array_equal(data.rows, [0, 3, 4, 5, 6, 7])
    folds = folds_of(data, [(np.arange(5), np.arange(5, 8)), ([7, 6, 2], [1, 0, 3])])
    given = [(data.rows[t].tolist(), data.rows[v].tolist()) for t, v in folds]
    assert given == [([0, 3, 4], [5, 6, 7]), ([6, 7], [0, 3])]


def test_masks_are_taken_as_rows():
    y = np.arange(6.0)
    y[1] = np.nan
    mask = np.array([True, True, True, True, False, False])
    data = numbers(y)
    ((train, valid),) = folds_of(data, [(mask, ~mask)])
    assert data.rows[train].tolist() == [0, 2, 3]
    assert data.rows[valid].tolist() == [4, 5]


@pytest.mark.parametrize(
    "cv", [[([0, 1], [])], [([], [0, 1])], [([0, 1], [2]), ([0], [5])]]
)
def test_a_split_without_rows_is_an_error(cv):
    y = np.arange(6.0)
    y[5] = np.nan
    with pytest.raises(ValueError, match=rf"Split {len(cv) - 1} of cv has"):
        folds_of(numbers(y), [tuple(np.array(r, int) for r in s) for s in cv])


def test_no_splits_are_an_error():
    with pytest.raises(ValueError, match="no splits"):
        folds_of(numbers(np.arange(6.0)), [])


def test_folds_do_not_read_anything_but_the_data():
    """Rows of X move, and nothing of the folds does."""
    data = numbers(np.arange(30.0))
    moved = replace(data, X=data.X[::-1] * 1e6)
    for (_, a), (_, b) in zip(folds_of(data), folds_of(moved), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("row", [40, -41])
def test_listed_splits_are_positions_in_x(make_data, row):
    data = make_data(40)
    splits = [(np.arange(30), np.array([35, row]))]
    with pytest.raises(ValueError, match=f"row {row}, and X has 40 rows"):
        validation_folds(splits, data, np.random.RandomState(0))
