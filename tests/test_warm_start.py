"""Fitting on: warm_start, partial_fit, and joining nets."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.callback import ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import TimeSeriesSplit

from skmtl._members import Members
from skmtl._net import BankNet, RowsDataset, fit_bank
from skmtl.architecture import HardSharing
from skmtl.encoding import PiecewiseLinear, Standard
from skmtl.weighting import PCGrad, Uncertainty

from .instances import (
    ESTIMATORS,
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)
DATA = {"regressor": regression_data, "classifier": classification_data}


def warm(kind="regressor", **changes):
    return small(kind, **{"warm_start": True, "max_epochs": 6} | changes)


def held_out_losses(model):
    return model.history_[:, "valid_loss"]


# -- the same members ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_fit_trains_on(kind):
    X, y = DATA[kind]()
    model = warm(kind, n_iter_no_change=None).fit(X, y)
    first, net = model.n_iter_, model.net_
    before = model.predict(X)
    model.fit(X, y)
    assert model.n_epochs_ == len(model.history_) == len(model.loss_weights_) == 12
    assert model.history_[:, "epoch"] == list(range(1, 13))
    assert (model.n_iter_ >= first).all()
    assert (model.n_iter_ <= 12).all()
    assert min(held_out_losses(model)[6:]) < min(held_out_losses(model)[:6])
    # The net there was is another one, and was not touched.
    assert model.net_ is not net
    assert len(net.history) == 6
    rows = RowsDataset(X)
    np.testing.assert_array_equal(net.predict(rows), before)


def test_no_member_ends_worse_on_its_held_out_rows_than_it_began():
    X, y = regression_data()
    model = warm(max_epochs=20, n_estimators=4).fit(X, y)
    before = [m.predict(X) for m in model.estimators_]
    # Steps that can only do harm.
    model.set_params(lr=10.0, max_epochs=2, clip_norm=1e3).fit(X, y)
    np.testing.assert_array_equal(
        [m.predict(X) for m in model.estimators_],
        before,
    )
    assert model.n_epochs_ == 22
    assert (model.n_iter_ <= 20).all()


def test_without_held_out_rows_the_last_epoch_counts():
    X, y = regression_data()
    model = warm(early_stopping=False).fit(X, y).fit(X, y)
    assert model.n_iter_.tolist() == [12, 12]
    alone = small("regressor", max_epochs=6, early_stopping=False).fit(X, y)
    assert (
        np.square(model.predict(X) - y).mean() < np.square(alone.predict(X) - y).mean()
    )


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(3)])
def test_members_hold_out_the_rows_that_they_held_out_before(random_state):
    X, y = regression_data()
    model = warm(random_state=random_state).fit(X, y)
    held_out = np.isnan(model.validation_prediction_[:, 0])
    model.fit(X, y)
    np.testing.assert_array_equal(
        np.isnan(model.validation_prediction_[:, 0]), held_out
    )
    # Also when other labels would balance the folds in another way.
    model.fit(X, np.where(np.arange(len(y))[:, None] % 3 == [0, 1, 2], np.nan, y))
    np.testing.assert_array_equal(
        np.isnan(model.validation_prediction_[:, 0]), held_out
    )


def test_the_draws_of_each_training_are_its_own():
    X, y = regression_data()
    model = warm(n_estimators=1, early_stopping=False, lr=1e-12).fit(X, y)
    seeds = model._members.seeds
    assert model.fit(X, y)._members.seeds != seeds
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.fit(X, y).predict(X), model.fit(X, y).predict(X)
    )


def test_encoders_and_target_scales_stay():
    X, y = regression_data()
    model = warm().fit(X, y)
    targets, encoders = model.net_.blueprint.targets, model.net_.blueprint.encoders
    model.fit(X * 100, y * 100 + 7)
    assert model.net_.blueprint.targets is targets
    assert model.net_.blueprint.encoders is encoders


def test_other_rows_are_dealt_anew_and_warned_of():
    X, y = regression_data()
    model = warm().fit(X[:40], y[:40])
    with pytest.warns(UserWarning, match="60 rows.*had 40 rows.*dealt to folds anew"):
        model.fit(X, y)
    assert model.validation_prediction_.shape == y.shape
    model.fit(X, y)  # and these folds stay


def test_holding_out_rows_after_training_on_all_is_warned_of():
    X, y = regression_data()
    model = warm(early_stopping=False).fit(X, y)
    with pytest.warns(UserWarning, match="trained on all of its rows"):
        model.set_params(early_stopping=True).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(early_stopping=False).fit(X, y)
    assert model._members.folds is None


def test_a_first_fit_with_warm_start_is_a_fit():
    X, y = regression_data()
    np.testing.assert_array_equal(
        warm().fit(X, y).predict(X),
        small("regressor", max_epochs=6).fit(X, y).predict(X),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_warm_start_a_fit_begins_anew(kind):
    X, y = DATA[kind]()
    model = small(kind, max_epochs=6).fit(X, y)
    before = model.predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), before)
    assert model.n_epochs_ == 6


def test_learned_weights_of_tasks_are_kept():
    X, y = regression_data()
    model = warm(weighting=Uncertainty(), early_stopping=False).fit(X, y)
    learned = model.weighting_.log_var_.detach().clone()
    model.set_params(lr=1e-9).fit(X, y)
    torch.testing.assert_close(model.weighting_.log_var_, learned, atol=1e-5, rtol=0)


def test_numbers_that_fuse_may_change():
    X, y = regression_data()
    model = warm(architecture=HardSharing((8,), dropout=0.1)).fit(X, y)
    model.set_params(architecture__dropout=0.4).fit(X, y)
    assert model.architecture_.dropouts[0].rates.tolist() == pytest.approx([0.4, 0.4])


# -- more and fewer members ------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"architecture": HardSharing((8,), dropout=0.3), "cv": 3},
        {"encoding": PiecewiseLinear(4), "weighting": PCGrad()},
        {"early_stopping": False},
        {"cv": TimeSeriesSplit(3)},
    ],
    ids=["default", "dropout", "bins", "all rows", "time"],
)
def test_added_members_are_those_of_one_fit(changes):
    X, y = regression_data()
    changes = {"dtype": "float64", "max_epochs": 12, "n_iter_no_change": 4} | changes
    model = warm(**changes).fit(X, y)
    model.set_params(n_estimators=4).fit(X, y)
    whole = warm(**changes, n_estimators=4).fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-9)
    for one, other in zip(model.estimators_, whole.estimators_, strict=True):
        np.testing.assert_allclose(one.predict(X), other.predict(X), atol=1e-9, rtol=0)
    assert model.n_iter_.tolist() == whole.n_iter_.tolist()
    if model.early_stopping:
        np.testing.assert_allclose(
            model.validation_prediction_, whole.validation_prediction_, atol=1e-9
        )
    n_epochs = model.n_epochs_
    assert model.loss_weights_.shape == (n_epochs, 4, 3)
    assert len(model.history_) == n_epochs
    # Both go the same way from here.
    for each in (model, whole):
        each.fit(X, y)
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-7)


def test_row_tasks_grow_with_widths_of_their_own():
    X, y, task = row_task_data()
    architecture = HardSharing((8,), linear_skip=True)
    changes = {"architecture": architecture, "encoding": PiecewiseLinear(4)}
    changes |= {"dtype": "float64", "n_estimators": 1}
    model = warm(**changes).fit(X, y, task=task)
    model.set_params(n_estimators=3).fit(X, y, task=task)
    whole = warm(**changes | {"n_estimators": 3}).fit(X, y, task=task)
    np.testing.assert_allclose(
        model.predict(X, task=task), whole.predict(X, task=task), rtol=0, atol=1e-9
    )


def test_weights_of_members_are_nan_where_they_had_no_part():
    X, y = regression_data()
    model = warm(n_estimators=1).fit(X, y).set_params(n_estimators=2).fit(X, y)
    known = np.isfinite(model.loss_weights_).all(axis=2)
    assert known[:6].tolist() == [[True, False]] * 6
    assert known[6:].tolist() == [[False, True]] * 6


def test_fewer_members_are_refused():
    X, y = regression_data()
    model = warm(n_estimators=3).fit(X, y).set_params(n_estimators=2)
    with pytest.raises(ValueError, match=r"n_estimators=2 is smaller than the 3 "):
        model.fit(X, y)


def test_a_member_trains_on_alone():
    X, y = regression_data()
    member = warm(n_estimators=3).fit(X, y).estimators_[2]
    held_out = np.flatnonzero(member._members.folds[2] >= 128)
    member.fit(X, y)
    found = ~np.isnan(member.validation_prediction_[:, 0])
    assert np.flatnonzero(found).tolist() == held_out.tolist()
    assert member.set_params(n_estimators=2).fit(X, y)._members.numbers.tolist() == [
        2,
        3,
    ]


def test_diverged_members_stay_out():
    X, y = regression_data()
    splits = [(np.arange(40), np.arange(40, 60)), (np.arange(1, 60), [0])]
    X = X.copy()
    X[0] = 1e30
    settings = {"cv": splits, "encoding": Standard(clip=None), "max_epochs": 3}
    model = warm(**settings)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X, y)
    kept = model._members.numbers.tolist()
    assert len(kept) == 1
    X[0] = 0
    model.fit(X, y)
    assert model._members.numbers.tolist() == kept
    model.set_params(n_estimators=3).fit(X, y)
    assert model._members.numbers.tolist() == [*kept, 2]
    assert len(model.n_iter_) == 2


def test_marks_remember_rows_that_are_trained_on_twice(make_data):
    data = make_data()
    train = np.array([0, 0, 1, 2, 2, 2])
    cv = [(train, np.array([2, 5]))]
    members = Members.draw(1, data, True, cv, 1.0, np.random.RandomState(0))
    rows, valid = members.rows(0, data)
    assert rows.tolist() == train.tolist()
    assert valid.tolist() == [2, 5]


# -- other data ------------------------------------------------------------------


def refuse(model, method, message, *args, error=ValueError, **kwargs):
    before = dict(vars(model))
    with pytest.raises(error, match=f"(?s){message}"):
        getattr(model, method)(*args, **kwargs)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_columns_are_refused(method):
    X, y = regression_data()
    frame = pd.DataFrame(X, columns=list("abcd"))
    labels = pd.DataFrame(y, columns=["u", "v", "w"])
    model = warm(max_epochs=1).fit(frame, labels)
    refuse(model, method, "Feature names seen at fit.*missing", frame[["a"]], labels)
    renamed = frame.rename(columns={"a": "e"})
    refuse(model, method, "feature names should match", renamed, labels)
    refuse(model, method, r"y has 2 column\(s\)", frame, labels[["u", "v"]])
    refuse(model, method, r"y has 1 column\(s\) in 1 dim", frame, labels["u"])
    others = labels.rename(columns={"v": "x"})
    refuse(model, method, "'x' does not stand there", frame, others)
    refuse(model, method, "was fitted with none", frame, labels, task=[0] * 60)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_row_tasks_are_refused(method):
    X, y, task = row_task_data()
    model = warm(max_epochs=1).fit(X, y, task=task)
    refuse(model, method, r"did not see: 99", X, y, task=np.where(task == 10, 99, task))
    refuse(model, method, "was fitted with row tasks", X, y)
    some = task != 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fit has other rows now
        getattr(model, method)(X[some], y[some], task=task[some])
    assert model.n_tasks_ == 6


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_other_classes_are_refused(method):
    X, y = classification_data()
    model = warm("classifier", max_epochs=1).fit(X, y)
    more = y.copy()
    more[0, 1] = 7
    refuse(model, method, r"Task 1 has labels.*\[7", X, more)
    getattr(model, method)(X, np.minimum(y, 1))
    assert [len(c) for c in model.classes_] == [2, 3]


def test_another_architecture_is_refused():
    X, y = regression_data()
    model = warm(max_epochs=1).fit(X, y)
    model.set_params(architecture=HardSharing((7,)))
    refuse(model, "fit", r"architecture=.*32.* is .*7.* now", X, y)
    model.set_params(n_estimators=3)
    refuse(model, "fit", r"architecture=.*32.* is .*7.* now", X, y)
    model.set_params(architecture=HardSharing((32,)), weighting=Uncertainty())
    refuse(model, "fit", r"weighting=Equal\(\).*Uncertainty\(\)", X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_adapted_estimator_is_not_trained_on(method):
    X, y = regression_data()
    adapted = warm(max_epochs=1).fit(X, y).adapt(X, y[:, 0] ** 2)
    refuse(adapted, method, "was adapted to a new task", X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_failed_training_leaves_the_estimator_as_it_was(method):
    X, y = regression_data()
    model = warm(early_stopping=False, max_epochs=2).fit(X, y)
    predicted = model.predict(X)
    model.set_params(lr=1e35)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refuse(model, method, "All 2 members", X, y, error=FloatingPointError)
    np.testing.assert_array_equal(model.predict(X), predicted)


# -- partial_fit -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_passes_learn(kind):
    X, y = DATA[kind]()
    model = small(kind)
    classes = {"classes": [[0, 1], [0, 1, 2]]} if kind == "classifier" else {}
    scores = []
    for _ in range(30):
        scores.append(model.partial_fit(X, missing(y), **classes).score(X, y))
    assert scores[-1] > max(scores[0], 0.75)
    assert model.n_iter_.tolist() == [30, 30]
    assert model.n_epochs_ == len(model.history_) == len(model.loss_weights_) == 30
    assert not hasattr(model, "validation_prediction_")


def test_a_pass_is_an_epoch_at_the_full_rate():
    X, y = regression_data()
    settings = {"early_stopping": False, "batch_size": None, "dtype": "float64"}
    settings["relevance"] = None  # which a first part of the rows does not decide
    model = small("regressor", **settings).partial_fit(X, y)
    one = small("regressor", **settings, max_epochs=1).fit(X, y)
    np.testing.assert_allclose(model.predict(X), one.predict(X), rtol=0, atol=1e-12)
    first = model.history_[0, "train_loss"]
    assert first == pytest.approx(one.history_[0, "train_loss"])


def test_moments_go_on_from_pass_to_pass():
    """With all rows in a batch, passes are Adam's steps at one rate."""
    X, y = regression_data()
    settings = {"n_estimators": 1, "batch_size": None, "dtype": "float64"}
    settings |= {"architecture": HardSharing(()), "encoding": Standard()}
    settings |= {"weight_decay": 0.0, "random_state": 0, "lr": 0.05}
    model = small("regressor", **settings).partial_fit(X, y)
    assert model._moments["n_steps"] == [1]
    other = small("regressor", **settings).partial_fit(X, y)
    shared = other.architecture_.heads.shared
    weight, bias = (p.detach().clone().requires_grad_() for p in shared.parameters())
    optimizer = torch.optim.Adam([weight, bias], lr=0.05)
    # The first step from what it left behind: m / (1 - b1), v / (1 - b2).
    inputs = other.net_.module_.encoder(torch.from_numpy(X.copy()))
    targets = torch.from_numpy(other.net_.blueprint.targets.encode(y))
    for p, moments in zip([weight, bias], other._moments["moments"], strict=True):
        optimizer.state[p] = {
            "step": torch.tensor(1.0),
            **{n: torch.from_numpy(m.copy()) for n, m in moments.items()},
        }
    for _ in range(5):
        optimizer.zero_grad()
        (inputs @ weight + bias - targets).square().mean().backward()
        optimizer.step()
        other = pickle.loads(pickle.dumps(other)).partial_fit(X, y)
        model.partial_fit(X, y)
    found = other.architecture_.heads.shared
    torch.testing.assert_close(found.weight, weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.bias, bias, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_passes_go_on_from_a_fit():
    X, y = regression_data()
    model = small("regressor", max_epochs=30).fit(X, y)
    before = model.score(X, y)
    n_iter = model.n_iter_
    model.set_params(lr=1e-4).partial_fit(X, y)
    assert model.score(X, y) == pytest.approx(before, abs=0.05)
    assert model.n_iter_.tolist() == (n_iter + 1).tolist()
    assert model.n_epochs_ == len(model.history_) == 31
    assert not hasattr(model, "validation_prediction_")
    with pytest.warns(UserWarning, match="trained on all of its rows"):
        model.set_params(warm_start=True, max_epochs=1).fit(X, y)


def test_batches_may_lack_tasks_labels_and_classes():
    X, y = classification_data()
    model = small("classifier").partial_fit(X, y, classes=[[0, 1], [0, 1, 2]])
    some = np.where([True, False], np.nan, y)[:1]
    model.partial_fit(X[:1], some)
    refuse(model, "partial_fit", "Found 0 samples", X, np.full_like(y, np.nan))
    X, y, task = row_task_data()
    model = small("regressor").partial_fit(X, y, task=task)
    weight = model.architecture_.heads.deviation.weight.detach().clone()
    model.partial_fit(X[task == 10], y[task == 10], task=task[task == 10])
    now = model.architecture_.heads.deviation.weight
    moved = (now != weight).flatten(2).any(-1)
    assert moved.tolist() == [[True] + [False] * 6] * 2


def test_the_first_pass_needs_all_classes():
    X, y = classification_data()
    model = small("classifier")
    refuse(model, "partial_fit", "classes must be passed on the first call", X, y)
    refuse(model, "partial_fit", r"classes of 1 column\(s\)", X, y, classes=[0, 1, 2])
    refuse(model, "partial_fit", "Task 1 has labels", X, y, classes=[[0, 1], [0, 1]])
    model.partial_fit(X, y[:, 0], classes=np.array([0, 1, 5]))
    assert model.classes_.tolist() == [0, 1, 5]
    assert model.predict_proba(X).shape == (80, 3)
    model.partial_fit(X, y[:, 0], classes=[5, 1, 0])
    refuse(model, "partial_fit", "not the same", X, y[:, 0], classes=[0, 1])


def test_the_first_pass_needs_every_task():
    X, y = regression_data()
    empty = np.where([True, True, False], y, np.nan)
    refuse(small("regressor"), "partial_fit", "Task 2 has no labels", X, empty)


def test_names_of_classes_come_back():
    X, y = classification_data()
    names = np.array(["no", "yes"])[y[:, 0].astype(int)]
    model = small("classifier", lr=0.1).partial_fit(X, names, classes=["yes", "no"])
    for _ in range(20):
        model.partial_fit(X, names)
    assert (model.predict(X) == names).mean() > 0.8


def test_task_is_requested_for_passes():
    with config_context(enable_metadata_routing=True):
        requests = small("regressor").get_metadata_routing().partial_fit.requests
    assert requests["task"] is True


def test_passes_call_no_callbacks():
    X, y = regression_data()

    class Refuse:
        def __getattr__(self, name):
            raise AssertionError(name)

    monitor = ScoringMonitor(scoring="r2")
    model = small("regressor", skorch_callbacks=[Refuse()]).set_callbacks(monitor)
    assert np.isfinite(model.partial_fit(X, y).predict(X)).all()
    with pytest.raises(ValueError, match="No logs"):
        monitor.get_logs()


def test_state_for_further_training_holds_no_torch_objects():
    X, y = regression_data()
    model = small("regressor").partial_fit(X, y)

    def leaves(thing):
        if isinstance(thing, dict | list | tuple):
            inside = thing.values() if isinstance(thing, dict) else thing
            return [leaf for part in inside for leaf in leaves(part)]
        return [thing]

    kinds = {type(leaf).__module__ for leaf in leaves(model._moments)}
    assert kinds <= {"builtins", "numpy"}
    assert small("regressor", max_epochs=1).fit(X, y)._moments is None


# -- joining nets ----------------------------------------------------------------


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("skip", [False, True])
def test_joined_nets_predict_as_they_did(
    row_tasks, skip, make_data, make_plan, raw_outputs
):
    data = make_data(row_tasks=row_tasks)
    nets = []
    for seeds, encoding in [((0, 1), Standard()), ((2,), PiecewiseLinear(5))]:
        architecture = HardSharing((5,), linear_skip=skip, dropout=0.1 * len(seeds))
        plans = [
            make_plan(data, s, encoding=encoding, architecture=architecture)
            for s in seeds
        ]
        nets.append(fit_bank(plans, data, dtype="float64")[0])
    widths = {net.module_.encoder.table.shape[-1] for net in nets}
    assert len(widths) == 2
    for order in (nets, nets[::-1]):
        joined = BankNet.join(order)
        expected = torch.cat([raw_outputs(net, data) for net in order])
        torch.testing.assert_close(
            raw_outputs(joined, data), expected, rtol=0, atol=1e-12
        )
        assert len(joined.history) == 8
        back = pickle.loads(pickle.dumps(joined))
        torch.testing.assert_close(
            raw_outputs(back, data), expected, rtol=0, atol=1e-12
        )
        rates = joined.module_.architecture.dropouts[0].rates
        assert len(set(rates.tolist())) == 2


def test_nets_that_do_not_fuse_are_not_joined(make_data, make_plan):
    data = make_data()
    nets = [
        fit_bank([make_plan(data, architecture=HardSharing((n,)))], data)[0]
        for n in (4, 5)
    ]
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        BankNet.join(nets)
