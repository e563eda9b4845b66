"""Tables of any columns: categories, dates, missing values, frames of any library."""

import datetime
import decimal
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, cross_val_score

from skmtl._net import _table as table_module
from skmtl._net import fit_bank
from skmtl._tasks import TableReader, check_task_data
from skmtl.architecture import HardSharing
from skmtl.encoding import (
    Auto,
    EncoderBank,
    Encoding,
    Periodic,
    PiecewiseLinear,
    Standard,
)
from skmtl.weighting import PCGrad

from .instances import ESTIMATORS, exact, small

pl = pytest.importorskip("polars")

LETTERS = np.array(["red", "green", "blue"])


def cells(n_samples=60, seed=0):
    """Draw columns as lists: numbers, three colours with gaps, many codes, a bool."""
    rng = np.random.default_rng(seed)
    colour = LETTERS[rng.integers(0, 3, n_samples)].astype(object)
    colour[::7] = None
    return {
        "size": rng.normal(size=n_samples).tolist(),
        "colour": colour.tolist(),
        "shop": [f"shop {i}" for i in rng.integers(0, 12, n_samples)],
        "open": (rng.random(n_samples) > 0.5).tolist(),
    }


def target(columns):
    size, colour = np.array(columns["size"]), np.array(columns["colour"], dtype=object)
    return size + 2.0 * (colour == "red") + np.array(columns["open"])


def frame(n_samples=60, seed=0, **dtypes):
    return pd.DataFrame(cells(n_samples, seed)).astype(dtypes)


def cheap(kind="regressor", **changes):
    """Fit quickly; `shop` is embedded and `colour` is not."""
    settings = {"max_epochs": 3, "encoding": Standard(max_onehot=5)}
    return small(kind, **settings | changes)


def polars_frame(columns, **dtypes):
    return pl.DataFrame(columns).with_columns(
        [pl.col(name).cast(dtype) for name, dtype in dtypes.items()]
    )


# -- reading columns -------------------------------------------------------------


def test_columns_are_read_by_hand():
    X = pd.DataFrame(
        {
            "x": [1.5, np.nan, 3.0],
            "colour": ["red", None, "blue"],
            "yes": [True, False, True],
            "n": [3, 2, 1],
        }
    )
    reader = TableReader().fit(X)
    assert reader.categories == [None, ["blue", "red"], None, None]
    assert reader.n_categories == [None, 2, None, None]
    expected = [[1.5, 1, 1, 3], [np.nan, np.nan, 0, 2], [3, 0, 1, 1]]
    np.testing.assert_array_equal(reader.read(X), expected)
    new = X.assign(colour=["pink", "blue", np.nan])
    np.testing.assert_array_equal(reader.read(new)[:, 1], [-1, 0, np.nan])


FRAMES = {
    "object": lambda c: pd.DataFrame(c).astype({"colour": object, "shop": object}),
    "str": lambda c: pd.DataFrame(c),
    "string": lambda c: pd.DataFrame(c).astype({"colour": "string", "open": "boolean"}),
    "category": lambda c: pd.DataFrame(c).astype(
        {"colour": pd.CategoricalDtype(["red", "blue", "green", "never"])}
    ),
    "nullable": lambda c: pd.DataFrame(c).astype({"size": "Float64", "open": "Int64"}),
    "polars": polars_frame,
    "polars Categorical": lambda c: polars_frame(c, colour=pl.Categorical),
    "polars Enum": lambda c: polars_frame(c, colour=pl.Enum(LETTERS.tolist())),
}


@pytest.mark.parametrize("made_of", FRAMES)
@pytest.mark.parametrize("kind", sorted(ESTIMATORS))
def test_frames_of_any_library_and_dtype_give_the_same_fit(made_of, kind):
    columns, new = cells(), cells(seed=1)
    y = target(columns) > 1
    plain = cheap(kind).fit(FRAMES["object"](columns), y)
    model = cheap(kind).fit(FRAMES[made_of](columns), y)
    np.testing.assert_array_equal(
        model.predict(FRAMES[made_of](new)), plain.predict(FRAMES["object"](new))
    )
    np.testing.assert_array_equal(
        model.predict(FRAMES["object"](new)), plain.predict(FRAMES["object"](new))
    )
    assert model.feature_names_in_.tolist() == list(columns)


def test_frames_of_pyarrow_strings_are_read():
    pytest.importorskip("pyarrow")
    columns = cells()
    arrow = pd.DataFrame(columns).astype({"colour": "string[pyarrow]"})
    expected = TableReader().fit(frame()).read(frame())
    np.testing.assert_array_equal(TableReader().fit(arrow).read(arrow), expected)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1, None, 3], dtype="Float64"),
        pd.Series([1, None, 3], dtype=object),
        pd.Series([decimal.Decimal(1), None, 3], dtype=object),
        pd.Series([1.0, np.nan, 3.0], dtype="float32"),
        pl.Series([1, None, 3]),
        pl.Series([decimal.Decimal(1), None, decimal.Decimal(3)]),
    ],
    ids=lambda column: str(column.dtype),
)
def test_numbers_of_any_dtype_are_numbers(column):
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X = make({"x": column})
    reader = TableReader().fit(X)
    assert reader.categories == []
    np.testing.assert_array_equal(reader.read(X)[:, 0], [1, np.nan, 3])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series([True, None, False], dtype=object),
        pd.Series([True, pd.NA, False], dtype=object),
        pl.Series([True, None, False]),
    ],
    ids=["boolean", "None", "NA", "polars"],
)
def test_booleans_are_zeros_and_ones(column):
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X = make({"x": column})
    np.testing.assert_array_equal(TableReader().fit(X).read(X)[:, 0], [1, np.nan, 0])


def test_integers_are_categories_where_the_dtype_says_so():
    X = pd.DataFrame({"zip": [30, 10, 10, 20], "n": [30, 10, 10, 20]})
    reader = TableReader().fit(X.astype({"zip": "category"}))
    assert reader.categories == [[10, 20, 30], None]
    expected = [[2, 30], [0, 10], [0, 10], [1, 20]]
    np.testing.assert_array_equal(reader.read(X), expected)


def test_categories_that_do_not_sort_or_are_intervals_are_read():
    mixed = pd.Series(["a", 1, (2, 3), "b"]).astype("category")
    X = pd.DataFrame({"m": mixed, "bin": pd.cut(pd.Series([1, 5, 9, 9]), 3)})
    reader = TableReader().fit(X)
    assert reader.n_categories == [4, 3]
    assert sorted(reader.read(X)[:, 0]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(reader.read(X)[:, 1], [0, 1, 2, 2])


def test_a_frame_and_an_array_of_numbers_are_one_table():
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = X.sum(axis=1)
    by_array = cheap().fit(X, y).predict(X)
    for make in (pd.DataFrame, pl.DataFrame):
        named = make(dict(zip("abc", X.T, strict=True)))
        np.testing.assert_array_equal(cheap().fit(named, y).predict(named), by_array)
    as_objects = cheap().fit(X.astype(object), y).predict(X.astype(object))
    np.testing.assert_array_equal(as_objects, by_array)


# -- what is refused -------------------------------------------------------------

DAY = datetime.date(2024, 2, 29)
DATES = {
    "datetime64": pd.Series(pd.to_datetime(["2024-01-01", None, "2024-03-01"])),
    "with zone": pd.Series(
        pd.to_datetime(["2024-01-01", None, "2024-03-01"], utc=True)
    ),
    "date": pd.Series([DAY, None, DAY], dtype=object),
    "time": pd.Series([datetime.time(1), None, datetime.time(2)], dtype=object),
    "period": pd.Series(pd.period_range("2024", periods=3, freq="M")),
    "polars date": pl.Series([DAY, None, DAY]),
    "polars time": pl.Series([datetime.time(1), None, datetime.time(2)]),
}


@pytest.mark.parametrize("dates", DATES)
@pytest.mark.parametrize("kind", sorted(ESTIMATORS))
def test_dates_are_refused_with_advice(dates, kind):
    column = DATES[dates]
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X = make({"x": [1.0, 2.0, 3.0], "when": column})
    with pytest.raises(
        ValueError, match=r"Column 'when' of X holds dates.*skrub.DatetimeEncoder.*year"
    ):
        cheap(kind).fit(X, [0, 1, 0])
    model = cheap(kind).fit(make({"x": [1.0, 2.0, 3.0], "when": [1, 2, 3]}), [0, 1, 0])
    with pytest.raises(ValueError, match="Column 'when' of X holds dates"):
        model.predict(X)


def test_dates_in_an_array_are_refused():
    X = np.array([["2024-01-01"], ["2024-01-02"]], dtype="datetime64[D]")
    with pytest.raises(ValueError, match="array X holds dates"):
        cheap().fit(X, [0, 1])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_timedelta([1, 2, 3], unit="D")),
        pd.Series([datetime.timedelta(1), None, datetime.timedelta(2)], dtype=object),
        pl.Series([datetime.timedelta(1), None, datetime.timedelta(2)]),
    ],
    ids=["timedelta64", "object", "polars"],
)
def test_durations_are_refused_with_advice(column):
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X = make({"x": [1.0, 2.0, 3.0], "spell": column})
    with pytest.raises(
        ValueError, match=r"'spell' of X holds durations.*total_seconds"
    ):
        cheap().fit(X, [0, 1, 0])


def test_dates_declared_categories_are_categories():
    X = pd.DataFrame({"when": DATES["datetime64"].astype("category")})
    assert TableReader().fit(X).n_categories == [2]


@pytest.mark.parametrize(
    "cell", [{"a": 1}, [1, 2], b"\xff"], ids=["dict", "list", "bytes"]
)
@pytest.mark.parametrize("other", [1.0, "text"])
def test_cells_that_are_no_values_are_refused_by_column(cell, other):
    X = pd.DataFrame({"x": [1.0, 2.0], "odd": pd.Series([other, cell], dtype=object)})
    with pytest.raises((TypeError, ValueError), match=r"Column 'odd' of X"):
        cheap().fit(X, [0, 1])


def test_nested_columns_of_polars_are_refused_by_column():
    for odd in ([[1], [2]], [{"a": 1}, {"a": 2}]):
        with pytest.raises(TypeError, match=r"Column 'odd' of X holds cells of type"):
            cheap().fit(pl.DataFrame({"x": [1.0, 2.0], "odd": odd}), [0, 1])


def test_a_column_of_complex_numbers_beside_text_is_refused():
    X = pd.DataFrame({"c": [1j, 2.0], "t": ["a", "b"]})
    with pytest.raises(ValueError, match=r"Complex data not supported\nColumn 'c'"):
        cheap().fit(X, [0, 1])


def test_text_among_numbers_names_the_column_and_both_cures():
    X = pd.DataFrame({"a": ["x", "y"], "b": pd.Series([1.0, "tall"], dtype=object)})
    with pytest.raises(
        ValueError, match=r"'tall'. Column 'b' of X mixes.*to_numeric.*astype\(str\)"
    ):
        cheap().fit(X, [0, 1])


def test_text_in_an_array_is_refused_with_the_way_on():
    X = np.array([["1", "red"], ["2", "blue"]], dtype=object)
    for table in (X, X.tolist()):
        with pytest.raises(
            ValueError, match=r"could not convert string.*Bring a DataFrame"
        ):
            cheap().fit(table, [0, 1])


def test_text_where_fit_saw_numbers_is_refused():
    model = cheap().fit(frame(), target(cells()))
    with pytest.raises(ValueError, match="Column 'size' of X mixes text with numbers"):
        model.predict(frame().assign(size="large"))


def test_infinite_numbers_beside_categories_are_refused():
    X = frame()
    X.loc[3, "size"] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        cheap().fit(X, target(cells()))


def test_a_fit_that_fails_leaves_the_last_fit_alone():
    model = cheap().fit(frame(), target(cells()))
    before = model.predict(frame(seed=1))
    for broken in (frame().assign(colour="one"), frame().assign(colour=DAY)):
        with pytest.raises(ValueError, match=r"labels|dates"):
            model.fit(broken, np.full(60, np.nan))
        np.testing.assert_array_equal(model.predict(frame(seed=1)), before)


# -- names and shapes at predict -------------------------------------------------


def test_names_are_checked_as_scikit_learn_does():
    X = frame()
    model = cheap().fit(X, target(cells()))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[["colour", "size", "shop", "open"]])
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- shop"):
        model.predict(X.drop(columns="shop"))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        by_array = model.predict(X.to_numpy(dtype=object))
    np.testing.assert_array_equal(by_array, model.predict(X))
    with (
        pytest.warns(UserWarning, match="does not have valid feature names"),
        pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4"),
    ):
        model.predict(X.to_numpy(dtype=object)[:, :3])


def test_the_order_of_declared_categories_does_not_matter():
    X, new = frame(), frame(seed=1)
    model = cheap().fit(X.astype({"colour": "category"}), target(cells()))
    expected = model.predict(new)
    for order in (["blue", "green", "red"], ["red", "x", "blue", "green"]):
        dtype = pd.CategoricalDtype(order, ordered=True)
        np.testing.assert_array_equal(
            model.predict(new.astype({"colour": dtype})), expected
        )


@pytest.mark.parametrize("column", ["colour", "shop"])
def test_unseen_categories_are_no_category_and_no_error(column):
    model = cheap().fit(frame(), target(cells()))
    before = set(vars(model))
    new = frame(seed=1)
    predicted = model.predict(new.assign(**{column: "pink"}))
    assert np.isfinite(predicted).all()
    np.testing.assert_array_equal(
        predicted, model.predict(new.assign(**{column: "brown"}))
    )
    assert set(vars(model)) == before
    assert (predicted != model.predict(new)).any()


@pytest.mark.parametrize("column", ["colour", "shop", "size", "open"])
def test_columns_may_be_missing_altogether(column):
    y = target(cells())
    gaps = frame().assign(**{column: None})
    assert np.isfinite(cheap().fit(frame(), y).predict(gaps)).all()
    model = cheap().fit(gaps, y)
    # A column without values has no type, so whatever comes later is unseen.
    np.testing.assert_array_equal(model.predict(gaps), model.predict(frame()))


def test_a_table_of_categories_only_fits():
    X = frame()[["colour"]]
    y = 3.0 * (X["colour"] == "red").to_numpy()
    model = exact("regressor").fit(X, y)
    assert model.score(X, y) > 0.99


def test_a_category_that_all_rows_share_carries_nothing():
    X = frame()
    y = target(cells())
    constant = X.assign(colour="red")
    model = exact("regressor").fit(constant, y)
    plain = exact("regressor").fit(X.drop(columns="colour"), y)
    np.testing.assert_allclose(
        model.predict(constant), plain.predict(X.drop(columns="colour"))
    )


def test_row_tasks_stand_beside_categories():
    X = frame(120)
    X["group"] = [f"g{i % 4}" for i in range(120)]
    y = target(cells(120))
    model = cheap(task_column="group").fit(X, y)
    assert model.task_names_.tolist() == ["g0", "g1", "g2", "g3"]
    own = X.drop(columns="group")
    given = cheap().fit(own, y, task=X["group"])
    np.testing.assert_array_equal(model.predict(X), given.predict(own, task=X["group"]))
    adapted = model.adapt(X[:20].assign(group="new"), y[:20])
    assert np.isfinite(adapted.predict(X.assign(group="new"))).all()


# -- encoding categories ---------------------------------------------------------


def coded(n_rows=12):
    """A column of numbers, one of 3 categories, one of 50."""
    rng = np.random.default_rng(0)
    X = np.stack(
        [rng.normal(size=n_rows), np.arange(n_rows) % 3, np.arange(n_rows) + 7.0],
        axis=1,
    )
    X[0, 1] = X[1, 2] = np.nan
    X[2, 1] = X[3, 2] = -1
    return X, [None, 3, 50]


@pytest.mark.parametrize(
    "encoding", [Standard(), PiecewiseLinear(3), Auto(), Periodic(2)], ids=repr
)
def test_every_encoding_handles_categories_alike(encoding):
    X, categories = coded()
    columns = encoding.fit(X, np.ones(12), categories)
    own = encoding.fit(X[:, :1], np.ones(12))
    raw = torch.tensor(X)
    found = EncoderBank([columns], [0])(raw)[0].numpy()
    code, numbers, rest = found[:, 0], found[:, 1 : own.n_inputs + 1], found[:, -5:]
    expected = np.where(np.isnan(X[:, 2]), 0, X[:, 2] + 1)
    np.testing.assert_array_equal(code, expected)
    expected = EncoderBank([own], [0])(raw[:, :1])[0]
    np.testing.assert_allclose(numbers, expected, rtol=1e-12)
    np.testing.assert_array_equal(rest[:, :3], X[:, [1]] == [0, 1, 2])
    np.testing.assert_array_equal(rest[:, 3:], np.isnan(X[:, 1:]))


@given(seed=st.integers(0, 20))
def test_integer_weights_of_categories_equal_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 4, size=(8, 2)).astype(float)
    X[rng.random(X.shape) < 0.2] = np.nan
    weight = rng.integers(0, 3, 8)
    weight[0] = 1
    encoding = Standard(max_onehot=4)
    weighted = encoding.fit(X, weight.astype(float), [4, 4])
    repeated = np.repeat(X, weight, axis=0)
    plain = encoding.fit(repeated, np.ones(len(repeated)), [4, 4])
    np.testing.assert_array_equal(weighted.shift, plain.shift)
    np.testing.assert_array_equal(weighted.source, plain.source)


def test_an_encoding_of_ones_own_need_not_know_of_categories():
    class Raw(Encoding):
        def fit(self, X, sample_weight):
            return Standard().fit(X, sample_weight)

    X = np.random.default_rng(0).normal(size=(30, 2))
    expected = cheap(encoding=Standard()).fit(X, X[:, 0]).predict(X)
    found = cheap(encoding=Raw()).fit(X, X[:, 0]).predict(X)
    np.testing.assert_array_equal(found, expected)


# -- embeddings in a bank --------------------------------------------------------


def bank_data(row_tasks=False, kind="number"):
    """40 rows with a one-hot column, an embedded one and a number, all with gaps."""
    X = frame(40)
    rng = np.random.default_rng(1)
    X.loc[rng.random(40) < 0.2, "shop"] = None
    X.loc[rng.random(40) < 0.2, "size"] = np.nan
    y = target(cells(40)) + 0.1 * rng.normal(size=40)
    if kind == "class":
        y = (y > 1).astype(float)
    if not row_tasks:
        y = np.stack([y, y.round() % 2, rng.permutation(y)], axis=1)
        y[5:9, 1] = np.nan
    task = np.arange(40) % 3 if row_tasks else None
    estimator = ESTIMATORS["regressor" if kind == "number" else "classifier"]()
    return check_task_data(estimator, X, y, task, kind=kind)


SPLITS = [np.arange(40) % 4 == 0, np.arange(40) % 5 == 1, np.arange(40) < 3]
BANKS = {
    "standard": ({}, [Standard(max_onehot=5)] * 3),
    "many embedded": ({}, [Standard(max_onehot=0)] * 3),
    "all one-hot": ({}, [Standard()] * 3),
    "periodic": ({}, [Periodic(2, n_units=2, max_onehot=5)] * 3),
    "other encodings": (
        {},
        [Standard(max_onehot=5), Periodic(2, max_onehot=2), PiecewiseLinear(3)],
    ),
    "sigmas": ({}, [Periodic(2, sigma=s) for s in (0.01, 0.1, 1.0)]),
    "dropout and clipping": (
        {
            "architecture": HardSharing((5,), dropout=0.3, linear_skip=True),
            "clip_norm": 0.3,
        },
        [Periodic(2, max_onehot=5)] * 3,
    ),
    "gradients at the parameters": (
        {"weighting": PCGrad(gradients="parameters"), "weight_decay": 0.1},
        [Periodic(2, n_units=2, max_onehot=5)] * 3,
    ),
    "gradients at the features": (
        {"weighting": PCGrad()},
        [Standard(max_onehot=5)] * 3,
    ),
    "early stopping": (
        {"max_epochs": 20, "lr": 0.1, "n_iter_no_change": 2},
        [Periodic(2, max_onehot=5)] * 3,
    ),
    "linear models": (
        {"architecture": HardSharing(())},
        [Periodic(2, max_onehot=5), Standard(max_onehot=5), Standard()],
    ),
}


def plans_of(case, data, make_plan):
    shared, encodings = BANKS[case]
    rows = np.arange(40)
    return [
        make_plan(data, k, rows[~held], rows[held], encoding=encoding, **shared)
        for k, (held, encoding) in enumerate(zip(SPLITS, encodings, strict=True))
    ]


@pytest.mark.parametrize("case", BANKS)
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "by batch"])
def test_a_bank_with_embeddings_trains_as_its_networks_one_by_one(
    case, cached, make_plan, assert_one_by_one, monkeypatch
):
    if not cached:
        monkeypatch.setattr(table_module, "_CACHE_BYTES", 0)
    data = bank_data()
    assert_one_by_one(plans_of(case, data, make_plan), data)


@pytest.mark.parametrize("kind", ["number", "class"])
@pytest.mark.parametrize("case", ["periodic", "other encodings"])
def test_row_tasks_with_embeddings_train_as_one_by_one(
    case, kind, make_plan, assert_one_by_one
):
    data = bank_data(row_tasks=True, kind=kind)
    assert_one_by_one(plans_of(case, data, make_plan), data)


@pytest.mark.parametrize("case", BANKS)
def test_networks_with_embeddings_are_taken_and_pickled(case, make_plan, raw_outputs):
    data = bank_data()
    net, _ = fit_bank(plans_of(case, data, make_plan), data, dtype="float64")
    whole = raw_outputs(net, data)
    for index in ([2, 0], [1]):
        torch.testing.assert_close(raw_outputs(net.take(index), data), whole[index])
    copy = pickle.loads(pickle.dumps(net))
    assert torch.equal(raw_outputs(copy, data), whole)
    features = net.features(data.X)
    weight = np.ones((3, features.shape[-1], 3))
    moved = net.with_heads(net.blueprint, weight, np.zeros((3, 3)))
    torch.testing.assert_close(
        raw_outputs(moved, data), torch.from_numpy(features @ weight)
    )


@pytest.mark.parametrize("weighting", [None, PCGrad(gradients="parameters")], ids=repr)
def test_a_category_without_training_rows_is_an_unseen_one(weighting, make_plan):
    data = bank_data()
    column = data.category_columns[1]
    held = data.X[:, column] == 4
    rows = np.arange(40)
    changes = {} if weighting is None else {"weighting": weighting}
    plan = make_plan(
        data, 0, rows[~held], rows[held], encoding=Standard(max_onehot=5), **changes
    )
    net, _ = fit_bank([plan], data)
    (table,) = net.module_.embedding.tables.values()
    moved = table.weight[0].abs().sum(-1) > 0
    trained = np.unique(data.X[~held, column])
    trained = trained[~np.isnan(trained)].astype(int)
    assert np.flatnonzero(moved).tolist() == trained.tolist()
    X = data.X.copy()
    X[:, column] = 4
    unseen = X.copy()
    unseen[:, column] = -1
    np.testing.assert_array_equal(net.predict(X), net.predict(unseen))


def test_embeddings_are_shared_parameters(make_plan):
    data = bank_data()
    net, _ = fit_bank(plans_of("periodic", data, make_plan), data)
    module = net.module_
    shared = {id(p) for p in module.shared_parameters()}
    assert {id(p) for p in module.embedding.parameters()} <= shared
    assert len(list(module.embedding.parameters())) == 4
    assert shared.isdisjoint({id(p) for p in module.architecture.heads.parameters()})


def test_an_estimator_with_embeddings_adapts_and_has_members():
    X = frame(80)
    y = np.stack([target(cells(80)), np.array(cells(80)["size"])], axis=1)
    changes = {"max_epochs": 20, "n_estimators": 3, "n_neighbors": None}
    model = cheap(**changes, cv=3).fit(X, y)
    assert np.isfinite(model.validation_prediction_).all()
    members = np.mean([m.predict(X) for m in model.estimators_], axis=0)
    np.testing.assert_allclose(members, model.predict(X))
    adapted = model.adapt(X, 2 * y[:, 0] + 1)
    assert adapted.score(X, 2 * y[:, 0] + 1) > model.score(X, y) - 0.2
    assert np.isfinite(adapted.predict(X.assign(shop="new"))).all()


def test_thousands_of_categories_carry_their_signal():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=5000)
    train, test = rng.integers(0, 5000, 15000), rng.integers(0, 5000, 2000)
    x, z = rng.normal(size=15000), rng.normal(size=2000)

    def table(numbers, codes):
        return pd.DataFrame({"x": numbers, "who": [f"c{i}" for i in codes]})

    y = x + effect[train] + 0.3 * rng.normal(size=15000)
    y_test = z + effect[test]
    model = small("regressor", max_epochs=12, n_estimators=1, encoding=Standard())
    model.fit(table(x, train), y)
    assert model.architecture_.layers[0].weight.shape[1] == 17
    with_names = model.score(table(z, test), y_test)
    model.fit(table(x, train)[["x"]], y)
    without = model.score(table(z, test)[["x"]], y_test)
    assert without < 0.55
    assert with_names > 0.75


# -- periodic embeddings ---------------------------------------------------------


def test_waves_by_hand(make_plan):
    data = bank_data()
    net, _ = fit_bank(
        [make_plan(data, 0, encoding=Periodic(3, n_units=2, linear=False))], data
    )
    module = net.module_
    inputs = module.encoder(torch.tensor(data.X))
    embedded = module.embedding(inputs)[0]
    waves = module.embedding.waves
    for j in range(2):
        angle = 2 * np.pi * inputs[0, :, [j]] * waves.frequency[0, j]
        both = torch.cat([angle.sin(), angle.cos()], dim=1)
        expected = (both @ waves.weight[0, j] + waves.bias[0, j]).relu()
        torch.testing.assert_close(embedded[:, 2 * j : 2 * j + 2], expected)
    torch.testing.assert_close(embedded[:, 4:], inputs[0, :, 2:])


def test_waves_learn_what_wiggles():
    X = np.linspace(-1, 1, 300)[:, None]
    y = np.sin(25 * X[:, 0])
    scores = {}
    for encoding in (Periodic(sigma=2.0), Standard()):
        model = exact("regressor", encoding=encoding, max_epochs=150).fit(X, y)
        scores[type(encoding)] = model.score(X, y)
    assert scores[Periodic] > 0.95
    assert scores[Standard] < 0.5


def test_sigma_scales_the_first_frequencies_alone(make_plan):
    data = bank_data()
    settings = {"lr": 1e-300, "max_epochs": 1}
    plans = [
        make_plan(data, 0, encoding=Periodic(2, sigma=sigma), **settings)
        for sigma in (0.1, 0.3)
    ]
    net, _ = fit_bank(plans, data, dtype="float64")
    waves = net.module_.embedding.waves
    torch.testing.assert_close(waves.frequency[1], 3 * waves.frequency[0])
    assert torch.equal(waves.weight[1], waves.weight[0])


def test_networks_of_one_bank_agree_in_the_sizes_of_waves(make_plan):
    data = bank_data()
    plans = [make_plan(data, 0, encoding=Periodic(k)) for k in (2, 3)]
    with pytest.raises(ValueError, match=r"agree in Periodic\(n_frequencies"):
        fit_bank(plans, data)


# -- tables as they come ---------------------------------------------------------


def csv():
    text = io.StringIO()
    X = frame(100)
    X.loc[::9, "size"] = np.nan
    X.assign(price=target(cells(100)) * 3).to_csv(text, index=False)
    text.seek(0)
    return pd.read_csv(text)


def test_a_table_straight_from_csv_fits_predicts_and_cross_validates():
    table = csv()
    X, y = table.drop(columns="price"), table["price"]
    model = small("regressor")
    assert (cross_val_score(model, X, y, cv=KFold(3)) > 0.3).all()
    model.fit(X, y)
    assert model.score(X, y) > 0.7
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))


def test_skrub_builds_a_pipeline_around_an_estimator():
    skrub = pytest.importorskip("skrub")
    table = csv()
    X, y = table.drop(columns="price"), table["price"]
    X["when"] = pd.to_datetime("2024-01-01") + pd.to_timedelta(range(100), unit="D")
    model = skrub.tabular_pipeline(small("regressor"))
    assert model.fit(X, y).score(X, y) > 0.6
