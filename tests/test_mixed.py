"""Numbers and classes side by side."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmtl import MixedTaskNet
from skmtl.loss import CrossEntropy, Focal, Huber, Poisson, SquaredError

from .instances import (
    classification_data,
    exact,
    frozen,
    missing,
    regression_data,
    row_task_data,
    small,
)

N = 60
RNG = np.random.default_rng(0)
FRACTIONS, CODES = frozen(RNG.normal(size=N), np.arange(N) % 3)


def fast(**changes):
    return small("mixed", max_epochs=2, n_estimators=1, **changes)


def mixed_frame(n_samples=80, *, seed=0, hidden=0.0):
    """Draw X, and y with a number, words, booleans and a category of numbers."""
    X, classes = classification_data(n_samples, seed=seed)
    y = pd.DataFrame(
        {
            "size": X[:, 0] + X[:, 1] ** 2,
            "word": np.array(["no", "yes"])[classes[:, 0].astype(int)],
            "flag": X[:, 2] > 0,
            "grade": pd.Categorical(classes[:, 1].astype(int) * 10),
        }
    )
    if hidden:
        absent = np.random.default_rng(seed).random(y.shape) < hidden
        absent[:10] = False
        y = y.astype({"flag": "boolean"}).mask(absent)
    return pd.DataFrame(X, columns=list("pqrs")).set_index(
        np.arange(100, 100 + len(X))
    ), y


@pytest.fixture(scope="module")
def fitted():
    X, y = mixed_frame(120)
    return small("mixed").fit(X, y), X, y


# -- what a column is ------------------------------------------------------------


def words(missing_value):
    values = np.array(["a", "b", "c"], dtype=object)[CODES]
    values[5] = missing_value
    return values


CLASS_COLUMNS = {
    "category of words": pd.Series(pd.Categorical(words("a"))),
    "category of whole numbers": pd.Series(pd.Categorical(CODES)),
    "category with a hole": pd.Series(pd.Categorical(words(None))),
    "str": pd.Series(words(np.nan), dtype="str"),
    "string": pd.Series(words(pd.NA), dtype="string"),
    "object": pd.Series(words(None), dtype=object),
    "object of bools": pd.Series([True, False, None] * 20, dtype=object),
    "bool": pd.Series(CODES > 0),
    "boolean": pd.Series([True, False, pd.NA] * 20, dtype="boolean"),
    "polars string": pl.Series(words(None).tolist()),
    "polars categorical": pl.Series(words(None).tolist(), dtype=pl.Categorical),
    "polars enum": pl.Series(words(None).tolist(), dtype=pl.Enum(["a", "b", "c"])),
    "polars boolean": pl.Series([True, False, None] * 20),
}
NUMBER_COLUMNS = {
    "float": pd.Series(FRACTIONS),
    "float32": pd.Series(FRACTIONS.astype("float32")),
    "float with a hole": pd.Series(FRACTIONS).mask(CODES == 0),
    "Float64": pd.Series(FRACTIONS, dtype="Float64").mask(CODES == 0),
    "object of fractions": pd.Series([0.5, 1.5, None] * 20, dtype=object),
    "many whole floats": pd.Series(np.arange(N) % 21.0),
    "few fractions": pd.Series(CODES / 2),
    "polars float": pl.Series(FRACTIONS),
    "polars float with a hole": pl.Series([0.5, 1.5, None] * 20),
}
UNCLEAR_COLUMNS = {
    "int": pd.Series(CODES),
    "many ints": pd.Series(np.arange(N)),
    "uint8": pd.Series(CODES.astype("uint8")),
    "Int64": pd.Series([0, 1, pd.NA] * 20, dtype="Int64"),
    "few whole floats": pd.Series(CODES.astype(float)),
    "whole floats with a hole": pd.Series([0.0, 1.0, np.nan] * 20),
    "twenty whole floats": pd.Series(np.arange(N) % 20.0),
    "object of ints": pd.Series([0, 1, None] * 20, dtype=object),
    "polars int": pl.Series(CODES),
    "polars int with a hole": pl.Series([0, 1, None] * 20),
    "polars whole float": pl.Series(CODES.astype(float)),
}


def as_frame(column, name="a"):
    if isinstance(column, pl.Series):
        return pl.DataFrame({name: column, "other": FRACTIONS})
    return pd.DataFrame({name: column, "other": FRACTIONS})


def table():
    return RNG.normal(size=(N, 2))


@pytest.mark.parametrize("column", CLASS_COLUMNS)
def test_columns_that_are_classes(column):
    y = as_frame(CLASS_COLUMNS[column])
    model = fast().fit(table(), y)
    assert model.task_types_ == {"a": "class", "other": "number"}
    assert list(model.classes_) == ["a"]
    known = {v for v in y["a"].to_list() if not (v is None or v is pd.NA or v != v)}
    assert set(model.classes_["a"].tolist()) == known


@pytest.mark.parametrize("column", NUMBER_COLUMNS)
def test_columns_that_are_numbers(column):
    model = fast().fit(table(), as_frame(NUMBER_COLUMNS[column]))
    assert model.task_types_ == {"a": "number", "other": "number"}
    assert model.classes_ == {}


@pytest.mark.parametrize("column", UNCLEAR_COLUMNS)
def test_columns_that_may_be_either_raise_and_say_what_to_pass(column):
    y = as_frame(UNCLEAR_COLUMNS[column], "sick")
    message = (
        r"Column 'sick' of y could be classes \{0, 1.*\} or numbers; pass "
        r"task_types=\{'sick': 'class'\} or task_types=\{'sick': 'number'\}\."
    )
    with pytest.raises(ValueError, match=message):
        fast().fit(table(), y)
    for kind in ("class", "number"):
        model = fast(task_types={"sick": kind}).fit(table(), y)
        assert model.task_types_ == {"sick": kind, "other": "number"}
        model = fast(task_types=[kind, "auto"]).fit(table(), y)
        assert model.task_types_["sick"] == kind


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (CODES, "number"),
        (CODES.astype(float), "number"),
        (FRACTIONS, "number"),
        (CODES > 0, "class"),
        (words(None), "class"),
        (words("a").astype("U1"), "class"),
        (np.array([True, False, None] * 20, dtype=object), "class"),
        (np.array([0.5, 1.5, None] * 20, dtype=object), "number"),
        (pd.Series(CODES), "number"),
        (pd.Series(FRACTIONS), "number"),
        (pd.Series(pd.Categorical(CODES)), "class"),
        (pd.Series(words("a")), "class"),
        (pl.Series(CODES), "number"),
        (pl.Series(words("a").tolist()), "class"),
        (words("a").tolist(), "class"),
        (FRACTIONS.tolist(), "number"),
    ],
)
def test_arrays_and_series(y, kind):
    model = fast().fit(table(), y)
    assert list(model.task_types_.values()) == [kind]
    predicted = model.predict(table())
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (N,)


def test_arrays_of_two_columns():
    model = fast().fit(table(), np.column_stack([CODES, FRACTIONS]))
    assert model.task_types_ == {0: "number", 1: "number"}
    y = np.column_stack([words(None), FRACTIONS.astype(object)])
    model = fast().fit(table(), y)
    assert model.task_types_ == {0: "class", 1: "number"}
    predicted = model.predict(table())
    assert predicted.shape == (N, 2)
    assert predicted.dtype == object
    assert set(predicted[:, 0]) <= {"a", "b", "c"}
    model = fast(task_types=["class", "number"])
    predicted = model.fit(table(), np.column_stack([CODES, FRACTIONS])).predict(table())
    assert predicted.dtype == np.float64
    assert set(predicted[:, 0]) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("task_types", "message"),
    [
        ({"b": "class"}, "task_types names 'b', which is not a task"),
        ({"a": "binary"}, "task_types says 'binary' for task 'a'; pass 'number', 'cl"),
        (["class"], "task_types has 1 entries, but there are 2 tasks"),
        ("class", "The 'task_types' parameter of MixedTaskNet must be"),
        ({"other": "class"}, "Unknown label type: continuous. Task 'other' holds"),
        ({"a": "number"}, "Task 'a' must hold numbers .* found 'a'"),
    ],
)
def test_task_types_that_do_not_fit(task_types, message):
    y = as_frame(pd.Series(words("a")))
    with pytest.raises(ValueError, match=message):
        fast(task_types=task_types).fit(table(), y)


def test_two_columns_of_one_name_are_refused():
    y = pd.DataFrame(np.column_stack([FRACTIONS, FRACTIONS]), columns=["a", "a"])
    with pytest.raises(ValueError, match="'a'"):
        fast().fit(table(), y)


# -- predictions -----------------------------------------------------------------


def test_a_frame_comes_back_with_the_index_of_X(fitted):
    model, X, y = fitted
    predicted = model.predict(X)
    assert isinstance(predicted, pd.DataFrame)
    assert list(predicted.columns) == list(y.columns)
    assert predicted.index.equals(X.index)
    assert predicted["size"].dtype == np.float64
    assert predicted["word"].dtype == y["word"].dtype
    assert predicted["flag"].dtype == bool
    assert set(predicted["grade"]) <= {0, 10, 20}
    plain = model.predict(X.reset_index(drop=True))
    assert plain.index.equals(pd.RangeIndex(len(X)))
    assert_frame_equal(plain, predicted.reset_index(drop=True))


def test_it_learns_every_column(fitted):
    model, X, y = fitted
    predicted = model.predict(X)
    assert np.corrcoef(predicted["size"], y["size"])[0, 1] > 0.9
    for name in ("word", "flag", "grade"):
        truth = y[name].astype(object).to_numpy()
        assert (predicted[name].astype(object).to_numpy() == truth).mean() > 0.8


def test_probabilities_are_of_the_class_tasks(fitted):
    model, X, _ = fitted
    proba = model.predict_proba(X)
    assert list(proba) == ["word", "flag", "grade"]
    assert list(model.classes_) == list(proba)
    assert model.task_types_ == {
        "size": "number",
        "word": "class",
        "flag": "class",
        "grade": "class",
    }
    predicted = model.predict(X)
    for name, p in proba.items():
        assert p.shape == (len(X), len(model.classes_[name]))
        np.testing.assert_allclose(p.sum(axis=1), 1)
        most = model.classes_[name][p.argmax(axis=1)]
        np.testing.assert_array_equal(predicted[name], most)


def test_polars_frames_come_back():
    X, y = mixed_frame()
    y = y.astype({"grade": str})
    ours = pl.DataFrame(y.to_dict("list"))
    model = fast().fit(pl.DataFrame(X.to_dict("list")), ours)
    predicted = model.predict(pl.DataFrame(X.to_dict("list")))
    assert isinstance(predicted, pl.DataFrame)
    assert predicted.schema == ours.schema
    by_pandas = fast().fit(X, y).predict(X)
    assert predicted.to_dict(as_series=False) == by_pandas.to_dict("list")
    # The library of y decides, whatever X is.
    assert isinstance(fast().fit(X, ours).predict(X), pl.DataFrame)
    frame = fast().fit(X.to_numpy(), y).predict(X.to_numpy())
    assert frame.index.equals(pd.RangeIndex(len(X)))


def test_rows_may_come_as_lists(fitted):
    X, y = mixed_frame()
    model = fast().fit(X.to_numpy(), y)
    assert_frame_equal(
        model.predict(X.to_numpy().tolist()), model.predict(X.to_numpy())
    )


def test_a_subclass_of_a_frame_comes_back_as_a_frame():
    class Frame(pd.DataFrame):
        pass

    X, y = mixed_frame()
    assert isinstance(fast().fit(X, Frame(y)).predict(X), pd.DataFrame)


def test_one_row_and_one_column():
    X, y = mixed_frame()
    model = fast().fit(X, y[["word"]])
    assert model.predict(X[:1]).shape == (1, 1)
    assert model.predict_proba(X[:1])["word"].shape == (1, 2)


def test_held_out_predictions_go_by_name():
    X, y = mixed_frame()
    model = small("mixed", n_estimators=8, max_epochs=3).fit(X, y)
    held_out = model.validation_prediction_
    assert list(held_out) == list(y.columns)
    assert held_out["size"].shape == (len(X),)
    assert held_out["grade"].shape == (len(X), 3)
    assert not any(np.isnan(values).any() for values in held_out.values())
    np.testing.assert_allclose(held_out["grade"].sum(axis=1), 1)


# -- beside the estimators of one kind -------------------------------------------


def test_numbers_alone_equal_the_regressor():
    X, y = regression_data()
    y = missing(y)
    ours, theirs = exact("mixed").fit(X, y), exact("regressor").fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    ours, theirs = small("mixed").fit(X, y), small("regressor").fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    held_out = np.column_stack(list(ours.validation_prediction_.values()))
    np.testing.assert_array_equal(held_out, theirs.validation_prediction_)


def test_classes_alone_equal_the_classifier():
    X, y = classification_data()
    y = missing(y)
    types = {"task_types": ["class", "class"]}
    for make in (exact, small):
        # The two have another default.
        decay = {"weight_decay": 0.1}
        ours = make("mixed", **types, **decay).fit(X, y)
        theirs = make("classifier", **decay).fit(X, y)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        proba = list(ours.predict_proba(X).values())
        for one, other in zip(proba, theirs.predict_proba(X), strict=True):
            np.testing.assert_array_equal(one, other)


def test_kinds_do_not_meet_without_shared_features():
    """Without hidden layers a number is learned as if no class stood beside it."""
    X, y = mixed_frame()
    # What a column tells about two labels is not what it tells about one.
    linear = {"architecture__hidden_layer_sizes": (), "relevance": None}
    both = exact("mixed").set_params(**linear).fit(X, y[["size", "word"]])
    alone = exact("regressor").set_params(**linear).fit(X, y["size"])
    # The mean over two tasks halves the gradient, which AdamW does not feel.
    np.testing.assert_allclose(both.predict(X)["size"], alone.predict(X), atol=5e-3)


def test_losses_go_by_kind_and_by_name():
    X, y = mixed_frame()

    def losses(**kwargs):
        model = fast(**kwargs).fit(X, y[["size", "word"]])
        return [type(loss) for loss in model.net_.blueprint.losses]

    assert losses() == [SquaredError, CrossEntropy]
    assert losses(loss="huber") == [Huber, CrossEntropy]
    assert losses(loss="focal") == [SquaredError, Focal]
    assert losses(loss={"word": Focal(1.0), "size": "huber"}) == [Huber, Focal]
    with pytest.raises(ValueError, match="Task 'size' has labels below zero"):
        losses(loss=[Poisson(), None])


# -- missing labels and row tasks ------------------------------------------------


def test_missing_labels_equal_cells_without_weight():
    X, y = mixed_frame(hidden=0.3)
    _, complete = mixed_frame()
    known = ~y.isna().to_numpy()
    masked = exact("mixed").fit(X, y)
    weightless = exact("mixed").fit(X, complete, sample_weight=known.astype(float))
    for name, proba in masked.predict_proba(X).items():
        other = weightless.predict_proba(X)[name]
        np.testing.assert_allclose(proba, other, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        masked.predict(X)["size"], weightless.predict(X)["size"], rtol=1e-9
    )


def test_missing_labels_do_not_stop_learning():
    X, y = mixed_frame(160, hidden=0.4)
    _, complete = mixed_frame(160)
    predicted = small("mixed").fit(X, y).predict(X)
    assert np.corrcoef(predicted["size"], complete["size"])[0, 1] > 0.8
    truth = complete["word"].to_numpy()
    assert (predicted["word"].to_numpy() == truth).mean() > 0.8


def grouped(n_samples=200):
    X, number, task = row_task_data(n_samples)
    y = pd.DataFrame({"gain": number, "won": np.where(number > 0, "yes", "no")})
    return X, y, task


def test_row_tasks_have_columns_of_both_kinds():
    X, y, task = grouped()
    model = small("mixed", max_epochs=50).fit(X, y, task=task)
    assert model.task_types_ == {"gain": "number", "won": "class"}
    assert model.task_names_.tolist() == sorted(set(task))
    predicted = model.predict(X, task=task)
    assert np.corrcoef(predicted["gain"], y["gain"])[0, 1] > 0.9
    assert (predicted["won"] == y["won"]).mean() > 0.85
    proba = model.predict_proba(X, task=task)
    assert {name: p.shape for name, p in proba.items()} == {"won": (200, 2)}
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=task)
    by_column = small("mixed", max_epochs=50, task_column="store").fit(frame, y)
    assert_frame_equal(by_column.predict(frame), predicted)


# -- adapt -----------------------------------------------------------------------


def test_a_new_number_a_new_class_and_both(fitted):
    model, _, _ = fitted
    X, _ = mixed_frame(120, seed=5)
    number = X["p"] - X["q"]
    word = np.where(X["p"] + X["q"] > 0, "up", "down")
    first = model.adapt(X, number.to_numpy())
    assert first.task_types_ == {0: "number"}
    assert np.corrcoef(first.predict(X), number)[0, 1] > 0.9
    second = model.adapt(X, pd.Series(word, name="way"))
    assert second.task_types_ == {"way": "class"}
    assert (second.predict(X) == word).mean() > 0.9
    both = model.adapt(X, pd.DataFrame({"n": number.to_numpy(), "way": word}))
    assert both.task_types_ == {"n": "number", "way": "class"}
    predicted = both.predict(X)
    assert isinstance(predicted, pd.DataFrame)
    np.testing.assert_allclose(predicted["n"], first.predict(X))
    np.testing.assert_array_equal(predicted["way"], second.predict(X))
    np.testing.assert_allclose(
        both.predict_proba(X)["way"], second.predict_proba(X)["way"]
    )


def test_adapt_asks_for_the_type_of_unclear_columns(fitted):
    model, _, _ = fitted
    X, _ = mixed_frame(60, seed=5)
    y = pd.DataFrame({"new": (X["p"] > 0).astype(int).to_numpy()})
    with pytest.raises(ValueError, match="Column 'new' of y could be classes"):
        model.adapt(X, y)
    by_class = model.adapt(X, y, task_types={"new": "class"})
    assert by_class.classes_["new"].tolist() == [0, 1]
    assert (by_class.predict(X)["new"] == y["new"].to_numpy()).mean() > 0.9
    by_number = model.adapt(X, y, task_types={"new": "number"})
    assert by_number.task_types_ == {"new": "number"}
    assert model.task_types_["size"] == "number"  # the original is as it was


def test_a_new_group_has_the_kinds_of_the_others():
    X, y, task = grouped()
    old = task != 12
    model = small("mixed", max_epochs=50).fit(X[old], y[old], task=task[old])
    adapted = model.adapt(X[~old], y[~old])
    assert adapted.task_types_ == model.task_types_
    predicted = adapted.predict(X[~old])
    truth = y[~old].reset_index(drop=True)
    with pytest.warns(UserWarning, match="shared head"):
        shared = model.predict(X[~old], task=task[~old])
    errors = [((p["gain"] - truth["gain"]) ** 2).mean() for p in (predicted, shared)]
    assert errors[0] < 0.5 * errors[1]
    assert (predicted["won"] == truth["won"]).mean() > 0.8
    with pytest.raises(ValueError, match="y has 1 columns; the tasks known have 2"):
        model.adapt(X[~old], y[~old][["gain"]])


def test_adapt_equals_rows_left_out_where_a_class_has_no_weight():
    """The same holds for MultiTaskNetClassifier."""
    X, y = classification_data()
    model = small("classifier", max_epochs=5).fit(X, y)
    labels = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-1, 1])]
    known = labels != "c"
    weightless = model.adapt(X, labels, sample_weight=known.astype(float))
    without = model.adapt(X[known], labels[known])
    np.testing.assert_array_equal(weightless.predict(X), without.predict(X))


@pytest.mark.parametrize(
    "loss",
    ["squared_error", "absolute_error", "huber", "poisson", "gamma", "quantile"],
)
def test_adapt_learns_under_every_loss_of_numbers(loss):
    X, y = regression_data(120)
    y = np.exp(y / 5)
    model = small("regressor", loss=loss, max_epochs=20).fit(X, y[:, :2])
    adapted = model.adapt(X, y[:, 2])
    assert adapted.score(X, y[:, 2]) > 0.8
    assert [type(own) for own in adapted.net_.blueprint.losses] == [
        type(model.net_.blueprint.losses[0])
    ]
    X, number, task = row_task_data(240)
    number = np.exp(number / 8)
    old = task != 12
    model = small("regressor", loss=loss, max_epochs=20).fit(
        X[old], number[old], task=task[old]
    )
    adapted = model.adapt(X[~old], number[~old])
    with pytest.warns(UserWarning, match="shared head"):
        shared = model.score(X[~old], number[~old], task=task[~old])
    assert adapted.score(X[~old], number[~old]) > shared


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("loss", ["log_loss", "focal"])
def test_adapt_learns_under_every_loss_of_classes(loss, n_classes):
    X, y = classification_data(120)
    model = small("classifier", loss=loss, max_epochs=20).fit(X, y)
    new = np.digitize(X[:, 0] - X[:, 1], [0.0, 1.0][: n_classes - 1])
    adapted = model.adapt(X, new)
    constant = np.bincount(new).max() / len(new)
    assert adapted.score(X, new) > constant + 0.15
    np.testing.assert_allclose(adapted.predict_proba(X).sum(axis=1), 1)


# -- as scikit-learn sees it -----------------------------------------------------


def test_it_is_neither_a_classifier_nor_a_regressor():
    model = MixedTaskNet()
    assert not is_classifier(model)
    assert not is_regressor(model)
    tags = model.__sklearn_tags__()
    assert tags.estimator_type is None
    assert tags.target_tags.required
    assert tags.target_tags.multi_output


def test_fits_clone_pickle_and_dump(fitted, tmp_path):
    model, X, _ = fitted
    predicted = model.predict(X)
    again = pickle.loads(pickle.dumps(model))
    assert_frame_equal(again.predict(X), predicted)
    assert again.task_types_ == model.task_types_
    joblib.dump(model, tmp_path / "model")
    assert_frame_equal(joblib.load(tmp_path / "model").predict(X), predicted)
    assert clone(model).get_params().keys() == model.get_params().keys()
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


def test_members_average_to_the_whole(fitted):
    model, X, _ = fitted
    members = model.estimators_
    assert len(members) == 2
    numbers = np.mean([m.predict(X)["size"] for m in members], axis=0)
    np.testing.assert_allclose(numbers, model.predict(X)["size"])
    proba = np.mean([m.predict_proba(X)["grade"] for m in members], axis=0)
    np.testing.assert_allclose(proba, model.predict_proba(X)["grade"])


def test_pipelines_and_searches_take_it():
    X, y = mixed_frame()
    pipeline = make_pipeline(StandardScaler(), fast()).fit(X, y)
    assert list(pipeline.predict(X).columns) == list(y.columns)

    def scoring(estimator, X, y):
        return (estimator.predict(X)["word"].to_numpy() == y["word"].to_numpy()).mean()

    types = {"size": "number", "word": "class", "flag": "class", "grade": "class"}
    search = GridSearchCV(
        fast(task_types=types), {"lr": [1e-6, 0.05]}, scoring=scoring, cv=KFold(2)
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == y.shape
    out_of_fold = cross_val_predict(fast(), X, y[["size", "word"]], cv=KFold(2))
    assert out_of_fold.shape == (len(X), 2)


def test_a_single_class_is_predicted_everywhere():
    X, y = mixed_frame()
    y = y[["size", "word"]].assign(word="only")
    with pytest.warns(UserWarning, match="Task 'word' has a single class, 'only'"):
        model = fast().fit(X, y)
    assert set(model.predict(X)["word"]) == {"only"}
    np.testing.assert_array_equal(model.predict_proba(X)["word"], np.ones((len(X), 1)))
