"""Callbacks of skorch and of scikit-learn, and what they see."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold
from skorch import callbacks as of_skorch
from skorch.history import History

from skmtl.architecture import HardSharing

from .instances import (
    ESTIMATORS,
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)
# scoring=None fails for every estimator: the monitor expects a dictionary of scores.
# TODO: use None when scikit-learn does.
OWN_SCORE = {"score": lambda estimator, X, y: estimator.score(X, y)}


def fitted(kind="regressor", callbacks=(), **changes):
    X, y = regression_data() if kind == "regressor" else classification_data()
    model = small(kind, **{"max_epochs": 8} | changes)
    return model.set_params(skorch_callbacks=list(callbacks)).fit(X, y), X, y


# -- history ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_is_plain_python(kind, tmp_path):
    X, y = regression_data() if kind == "regressor" else classification_data()
    model = small(kind, max_epochs=4).fit(X, missing(y))
    assert isinstance(model.history_, History)
    assert len(model.history_) == 4
    for i, row in enumerate(model.history_):
        assert row["epoch"] == i + 1
        for name in ("train_loss", "valid_loss"):
            assert type(row[name]) is float
            assert type(row[f"{name}_best"]) is bool
            losses = row[name.replace("loss", "losses")]
            assert type(losses) is list
            assert [type(loss) for loss in losses] == [float] * y.shape[1]
        assert type(row["dur"]) is float
        assert type(row["batches"]) is list
    file = tmp_path / "history.json"
    model.history_.to_file(file)
    assert [dict(row) for row in History.from_file(file)] == json.loads(
        file.read_text()
    )
    assert json.loads(file.read_text()) == [dict(row) for row in model.history_]


def test_the_loss_of_an_epoch_is_the_mean_over_tasks():
    model, *_ = fitted(task_weights=[1, 2, 5])
    for row in model.history_:
        expected = np.average(row["train_losses"], weights=[1, 2, 5])
        assert row["train_loss"] == pytest.approx(expected, rel=1e-5)
        assert row["valid_loss"] > 0


def test_the_best_epochs_are_marked():
    model, *_ = fitted(max_epochs=30)
    losses = model.history_[:, "valid_loss"]
    best = [loss < min(losses[:i], default=np.inf) for i, loss in enumerate(losses)]
    assert model.history_[:, "valid_loss_best"] == best
    assert any(best[1:])


def test_losses_without_held_out_labels_do_not_spoil_the_history():
    X, y = regression_data()
    y = y.copy()
    y[1:30, 1] = np.nan
    y[30:, 1] = np.nan
    y[[2, 3], 1] = 1.0
    splits = [(np.arange(30), np.arange(30, 60))]
    model = small("regressor", cv=splits, n_estimators=1, max_epochs=3).fit(X, y)
    assert all(math.isfinite(row["valid_loss"]) for row in model.history_)
    assert all(math.isnan(row["valid_losses"][1]) for row in model.history_)
    assert np.isfinite(model.predict(X)).all()


# -- skorch ----------------------------------------------------------------------


def test_a_progress_bar_of_skorch_runs_to_the_end(capsys):
    model, *_ = fitted(callbacks=[of_skorch.ProgressBar(batches_per_epoch=2)])
    assert capsys.readouterr().err.count("0/2") >= 8  # one bar an epoch
    assert model.n_epochs_ == 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_saves_the_best_weights(kind, tmp_path):
    checkpoint = of_skorch.Checkpoint(monitor="valid_loss_best", dirname=tmp_path)
    model, X, _ = fitted(kind, [checkpoint], n_estimators=1, max_epochs=20)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    here = model.net_.module_.state_dict()
    assert saved.keys() == here.keys()
    # One member keeps its best epoch, which is what the checkpoint waited for.
    for name, tensor in saved.items():
        torch.testing.assert_close(
            tensor, here[name], rtol=0, atol=0, check_dtype=False
        )
    before = model.predict(X)
    with torch.no_grad():
        for parameter in model.architecture_.parameters():
            parameter.zero_()
    assert not np.array_equal(model.predict(X), before)
    model.net_.load_params(f_params=tmp_path / "params.pt")
    np.testing.assert_array_equal(model.predict(X), before)
    assert json.loads((tmp_path / "history.json").read_text())


def test_a_checkpoint_fires_at_the_best_epochs_only(tmp_path):
    checkpoint = of_skorch.Checkpoint(
        monitor="valid_loss_best", dirname=tmp_path, event_name="saved"
    )
    model, *_ = fitted(callbacks=[checkpoint], max_epochs=30)
    assert model.history_[:, "saved"] == model.history_[:, "valid_loss_best"]


def test_a_learning_rate_scheduler_multiplies_the_learning_rate():
    scheduler = of_skorch.LRScheduler(policy="StepLR", step_size=2, gamma=0.5)
    model, X, _ = fitted(callbacks=[scheduler], max_epochs=6)
    rates = np.array(model.history_[:, "event_lr"])
    np.testing.assert_allclose(rates / rates[0], [1, 1, 0.5, 0.5, 0.25, 0.25])
    plain, *_ = fitted(max_epochs=6)
    assert (
        model.history_[:2, "train_loss"] == plain.history_[:2, "train_loss"]
    )  # nothing has changed yet
    assert model.history_[3, "train_loss"] != plain.history_[3, "train_loss"]
    assert not np.array_equal(model.predict(X), plain.predict(X))


def test_a_learning_rate_of_zero_stops_learning():
    scheduler = of_skorch.LRScheduler(policy="StepLR", step_size=2, gamma=0.0)
    model, *_ = fitted(callbacks=[scheduler], max_epochs=6)
    losses = model.history_[:, "valid_loss"]
    assert losses[0] != losses[1] == losses[2] == losses[5]


def test_epoch_scoring_scores_the_held_out_predictions():
    for name in ("r2", "neg_mean_absolute_error"):
        scoring = of_skorch.EpochScoring(name, lower_is_better=False)
        changes = {"n_estimators": 8, "max_epochs": 20, "n_neighbors": None}
        model, _, y = fitted(callbacks=[scoring], **changes)
        held_out = model.validation_prediction_
        expected = (
            r2_score(y, held_out) if name == "r2" else -np.abs(y - held_out).mean()
        )
        assert model.history_[-1, name] == pytest.approx(expected, rel=1e-5)
        assert type(model.history_[-1, name]) is float
        assert model.history_[-1, name] > model.history_[0, name]


def test_epoch_scoring_knows_labels_in_their_dtype():
    X, y = classification_data()
    names = np.array(["no", "yes"])[y[:, 0].astype(int)]
    scoring = of_skorch.EpochScoring("accuracy", lower_is_better=False)
    model = small("classifier", n_estimators=8, max_epochs=10, n_neighbors=None)
    model.set_params(skorch_callbacks=[scoring]).fit(X, names)
    most = model.classes_[model.validation_prediction_.argmax(axis=1)]
    assert model.history_[-1, "accuracy"] == accuracy_score(names, most)


def test_epoch_scoring_without_a_cache_scores_the_net_of_the_epoch():
    scoring = of_skorch.EpochScoring(
        "r2", lower_is_better=False, use_caching=False, name="now"
    )
    model, X, y = fitted(callbacks=[scoring], n_estimators=1, max_epochs=3)
    assert model.n_iter_.tolist() == [3]
    rows = ~np.isnan(model.validation_prediction_[:, 0])
    expected = r2_score(y[rows], model.predict(X)[rows])
    assert model.history_[-1, "now"] == pytest.approx(expected, rel=1e-5)


def test_epoch_scoring_reads_row_tasks():
    X, y, task = row_task_data()
    scoring = of_skorch.EpochScoring("r2", lower_is_better=False)
    # With "auto" the pooling is chosen behind the last epoch.
    architecture = HardSharing((32,), task_shrinkage=10.0)
    model = small("regressor", architecture=architecture, n_estimators=8, max_epochs=10)
    model.set_params(skorch_callbacks=[scoring]).fit(X, y, task=task)
    expected = r2_score(y, model.validation_prediction_)
    assert model.history_[-1, "r2"] == pytest.approx(expected, rel=1e-5)


def test_a_score_of_an_epoch_can_be_checkpointed_by(tmp_path):
    callbacks = [
        of_skorch.EpochScoring("r2", lower_is_better=False),
        of_skorch.Checkpoint(monitor="r2_best", dirname=tmp_path),
    ]
    model, *_ = fitted(callbacks=callbacks)
    assert (tmp_path / "params.pt").exists()
    assert model.history_[:, "event_cp"] == model.history_[:, "r2_best"]


def test_early_stopping_of_skorch_ends_the_training():
    stopping = of_skorch.EarlyStopping(patience=2, threshold=0.5, monitor="train_loss")
    model, *_ = fitted(callbacks=[stopping], max_epochs=200, lr=1e-5)
    assert model.n_epochs_ == len(model.history_) == 3
    assert model.loss_weights_.shape[0] == 3


def test_callbacks_may_be_named_and_left_as_they_were():
    scoring = of_skorch.EpochScoring("r2", lower_is_better=False, name="out of fold")
    model, *_ = fitted(callbacks=[("mine", scoring)])
    assert len(model.history_[:, "out of fold"]) == 8
    assert model.skorch_callbacks == [("mine", scoring)]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (of_skorch.BatchScoring("r2"), "scores single batches.*Use EpochScoring"),
        (of_skorch.GradientNormClipping(1.0), "clips.*all networks.*clip_norm"),
        (
            of_skorch.EpochScoring("r2", on_train=True),
            "scores training batches.*on_train=False",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_callbacks_that_cannot_work_are_refused_with_a_cure(callback, message):
    with pytest.raises(ValueError, match=message):
        fitted(callbacks=[callback])


def test_a_callback_sees_the_raw_table():
    class Look(of_skorch.Callback):
        def on_train_begin(self, net, X, y, **kwargs):
            self.begin = X.copy(), y.copy()

        def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
            self.sizes = len(dataset_train), len(dataset_valid)
            self.predicted = net.predict(X)

    look = Look()
    X, y = regression_data()
    model = small("regressor", n_estimators=8, max_epochs=3, skorch_callbacks=[look])
    model.fit(X, y)
    np.testing.assert_array_equal(look.begin[0], X)
    np.testing.assert_array_equal(look.begin[1], y)
    assert look.sizes == (60, 60)
    assert look.predicted.shape == y.shape
    assert abs(look.predicted.mean() - y.mean()) < y.std()


@pytest.mark.parametrize("batch_size", [None, 16])
def test_batches_are_told_as_often_as_there_are_steps(batch_size):
    class Count(of_skorch.Callback):
        def __init__(self):
            self.begun = self.ended = 0

        def on_batch_begin(self, net, training, **kwargs):
            self.begun += training

        def on_batch_end(self, net, training, **kwargs):
            self.ended += training

    count = Count()
    X, y = regression_data()
    settings = {"early_stopping": False, "max_epochs": 3, "batch_size": batch_size}
    small("regressor", skorch_callbacks=[count], **settings).fit(X, y)
    assert count.begun == count.ended == 3 * (1 if batch_size is None else 4)


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_that_look_change_nothing(kind, tmp_path):
    name = "r2" if kind == "regressor" else "accuracy"
    look = [of_skorch.Checkpoint(dirname=tmp_path), of_skorch.ProgressBar()]
    if kind == "regressor":
        look.append(of_skorch.EpochScoring(name, lower_is_better=False))
    seen, X, _ = fitted(kind, look)
    plain, *_ = fitted(kind)
    np.testing.assert_array_equal(seen.predict(X), plain.predict(X))


# -- scikit-learn ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_scoring_monitor_logs_one_score_an_epoch(kind):
    X, y = regression_data() if kind == "regressor" else classification_data()
    monitor = ScoringMonitor(scoring=OWN_SCORE)
    model = small(kind, max_epochs=6).set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs()
    assert log.estimator_name == type(model).__name__
    epochs = [row for row in log.data if row["task_name"] == "epoch"]
    scores = [row["score"] for row in epochs]
    assert [row["task_id"] for row in epochs] == list(range(6))
    assert np.isfinite(scores).all()
    assert len(set(scores)) > 1
    last = [row["score"] for row in log.data if row["task_name"] == "fit"]
    assert last == [pytest.approx(model.score(X, y))]


def test_a_monitored_score_is_that_of_the_weights_of_the_epoch():
    X, y = regression_data()
    monitor = ScoringMonitor(scoring="r2")
    settings = {"early_stopping": False, "max_epochs": 4}
    model = small("regressor", **settings).set_callbacks(monitor).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert epochs[-1]["r2"] == pytest.approx(r2_score(y, model.predict(X)))
    assert epochs[-1]["r2"] > epochs[0]["r2"]


def test_row_tasks_are_monitored():
    X, y, task = row_task_data()
    monitor = ScoringMonitor(scoring="r2")
    table = np.column_stack([X, task])
    settings = {"early_stopping": False, "max_epochs": 3, "task_column": -1}
    model = small("regressor", **settings).set_callbacks(monitor).fit(table, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert epochs[-1]["r2"] == pytest.approx(model.score(table, y))


def test_missing_labels_are_monitored_by_the_own_score():
    X, y = regression_data()
    monitor = ScoringMonitor(scoring=OWN_SCORE)
    small("regressor", max_epochs=3).set_callbacks(monitor).fit(X, missing(y))
    scores = [row["score"] for row in monitor.get_logs().data]
    assert len(scores) >= 3
    assert np.isfinite(scores).all()


def test_a_scoring_monitor_follows_every_fit_of_a_search():
    X, y = regression_data()
    monitor = ScoringMonitor(scoring="r2")
    search = GridSearchCV(
        small("regressor", n_estimators=1, max_epochs=3).set_callbacks(monitor),
        {"lr": [0.01, 0.02]},
        cv=KFold(2),
        error_score="raise",
    ).fit(X, y)
    assert np.isfinite(search.best_score_)
    logs = monitor.get_logs(select="all")
    epochs = [r for log in logs for r in log.data if r["task_name"] == "epoch"]
    assert len(epochs) == (2 * 2 + 1) * 3
    assert all(math.isfinite(row["r2"]) for row in epochs)


def test_a_progress_bar_of_scikit_learn_runs_to_the_end(capsys):
    pytest.importorskip("rich")
    X, y = regression_data()
    model = small("regressor", max_epochs=3).set_callbacks(ProgressBar()).fit(X, y)
    assert "MultiTaskNetRegressor" in capsys.readouterr().out
    assert np.isfinite(model.predict(X)).all()


def test_a_progress_bar_of_scikit_learn_works_in_a_search(capsys):
    pytest.importorskip("rich")
    X, y = regression_data()
    model = small("regressor", n_estimators=1, max_epochs=2)
    search = GridSearchCV(model, {"lr": [0.01, 0.02]}, cv=KFold(2), error_score="raise")
    search.set_callbacks(ProgressBar()).fit(X, y)
    assert np.isfinite(search.best_score_)
    printed = capsys.readouterr().out
    assert "GridSearchCV - fit" in printed
    assert "MultiTaskNetRegressor - fit" in printed


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_of_scikit_learn_change_nothing(kind):
    X, y = regression_data() if kind == "regressor" else classification_data()
    monitor = ScoringMonitor(scoring=OWN_SCORE)
    seen = small(kind, max_epochs=5).set_callbacks(monitor).fit(X, y)
    plain = small(kind, max_epochs=5).fit(X, y)
    np.testing.assert_array_equal(seen.predict(X), plain.predict(X))


def test_epochs_seen_by_a_callback_do_not_live_on_in_the_estimator():
    X, y = regression_data()
    model = small("regressor", max_epochs=3)
    kept = vars(small("regressor", max_epochs=3).fit(X, y)).keys()
    model.set_callbacks(ScoringMonitor(scoring=OWN_SCORE)).fit(X, y)
    assert [n for n in vars(model).keys() - kept if "callback" not in n] == []
