"""The skorch net that trains a bank."""

import numpy as np
import torch
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    PrintLog,
)

from ._bank_net import BankNet
from ._resumable import ResumableNet
from ._rows_dataset import RowsDataset


class JointNet(ResumableNet, BankNet):
    """Train a bank of networks as one skorch net.

    What callbacks see: plain floats an epoch (``train_loss``, ``valid_loss`` and their
    ``_best``), lists by task (``train_losses``, ``valid_losses``), ``net.predict`` on
    raw rows, and a validation set of all held-out rows whose cached predictions are
    out of fold. One record an epoch stands for its batches.

    Parameters
    ----------
    blueprint : Blueprint
        Of the bank.
    training : BankTraining, optional
        The training to run; None for a net that only predicts.
    decode : {"numbers", "labels"}
        How ``predict`` reports.
    on_epoch : callable, optional
        Called with the net after each epoch; training ends when it returns true.
    **kwargs : dict
        Passed to :class:`skorch.NeuralNet`.
    """

    def __init__(
        self, blueprint, training=None, decode="numbers", on_epoch=None, **kwargs
    ):
        super().__init__(blueprint, decode, **kwargs)
        self._training = training
        self._on_epoch = on_epoch

    @property
    def _default_callbacks(self):
        log = PrintLog(keys_ignored=["train_losses", "valid_losses"])
        return [("epoch_timer", EpochTimer()), ("print_log", log)]

    def initialize_module(self):
        """Take over the bank.

        Returns
        -------
        self : JointNet
            The net.
        """
        if self._training is None:
            return super().initialize_module()
        self.module_ = self._training.module
        return self

    def initialize_optimizer(self, triggered_directly=None):
        """Take over the optimizer of the networks in training.

        Parameters
        ----------
        triggered_directly : bool, optional
            Unused.

        Returns
        -------
        self : JointNet
            The net.
        """
        if self._training is not None:
            self.optimizer_ = self._training.optimizer
        return self

    def initialize_callbacks(self):
        """Refuse callbacks that cannot work on a bank.

        Returns
        -------
        self : JointNet
            The net.

        Raises
        ------
        ValueError
            For callbacks that need single batches of a single network.
        """
        super().initialize_callbacks()
        for name, callback in self.callbacks_:
            if isinstance(callback, BatchScoring):
                raise ValueError(
                    f"The callback {name!r} scores single batches, and a batch here "
                    "holds rows of many networks. Use EpochScoring."
                )
            if isinstance(callback, GradientNormClipping):
                raise ValueError(
                    f"The callback {name!r} clips the gradient of all networks "
                    "together. Use the argument clip_norm, which clips each network's "
                    "own."
                )
            if isinstance(callback, EpochScoring) and callback.on_train:
                raise ValueError(
                    f"The callback {name!r} scores training batches, which are not "
                    "recorded here. Use on_train=False."
                )
        return self

    def outputs(self, table, task=None):
        """Yield the raw outputs of the networks that learn all columns.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.
        task : ndarray of shape (n_rows,), int, optional
            Row tasks.

        Yields
        ------
        outputs : Tensor of shape (n_networks, n_chunk, n_outputs)
            During training as well, when networks of a guard are in the bank.
        """
        found = super().outputs(table, task)
        if self._training is None:
            yield from found
            return
        plans = self._training.plans
        shared = [k for k, plan in enumerate(plans) if plan.only_column is None]
        for outputs in found:
            yield outputs if len(shared) == len(plans) else outputs[shared]

    def get_split_datasets(self, X, y=None, **fit_params):
        """Give the rows and the held-out rows to callbacks.

        Parameters
        ----------
        X : RowsDataset
            All rows.
        y : None
            Labels are in X.
        **fit_params : dict
            Unused.

        Returns
        -------
        train, valid : RowsDataset
            The second is None without validation.
        """
        if not self._training.validates:
            return X, None
        held_out = [
            plan.valid_rows
            for plan in self._training.plans
            if plan.valid_rows is not None
        ]
        self._held_out = np.unique(np.concatenate(held_out))
        if len(self._held_out) == len(X):
            return X, X
        task = None if X.task is None else X.task[self._held_out]
        return X, RowsDataset(X.table[self._held_out], task, X.y[self._held_out])

    def get_iterator(self, dataset, training=False):
        """Iterate over the batches of an epoch.

        Parameters
        ----------
        dataset : RowsDataset
            What callbacks see; the batches come from the training table.
        training : bool, default=False
            Validation is one pass of the bank and needs no iterator of batches.

        Returns
        -------
        iterator : JointBatches or RowsDataset
            Fresh rows at every iteration.
        """
        return self._training.batches if training else dataset

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Run epochs until every network has stopped.

        Parameters
        ----------
        X : RowsDataset
            All rows.
        y : None
            Labels are in X.
        epochs : int, optional
            By default ``max_epochs``.
        **fit_params : dict
            Unused.

        Returns
        -------
        self : JointNet
            The net.
        """
        train, valid = self.get_split_datasets(X)
        datasets = {"dataset_train": train, "dataset_valid": valid}
        iterator = self.get_iterator(train, training=True)
        self._notifies_batches = any(_sees_batches(c) for _, c in self.callbacks_)
        # A training that was resumed has some epochs behind it, or has ended.
        for _ in range(
            self._training.epoch, self.max_epochs if epochs is None else epochs
        ):
            if not len(self._training.live):
                break
            self.notify("on_epoch_begin", **datasets)
            self.run_single_epoch(iterator, True, "train", self.train_step)
            self.run_single_epoch(valid, False, "valid", self.validation_step)
            self._training.end_epoch()
            if self._stop_after(datasets):
                break
        return self

    def _stop_after(self, datasets):
        try:
            self.notify("on_epoch_end", **datasets)
        except KeyboardInterrupt:
            # This is how skorch's callbacks ask for an end.
            return True
        asked = self._on_epoch is not None and self._on_epoch(self)
        return asked or not len(self._training.live)

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train; an interrupt ends training and is noted in ``interrupted_``.

        Parameters
        ----------
        X : RowsDataset
            All rows.
        y, classes : None
            Labels are in X.
        **fit_params : dict
            Unused.

        Returns
        -------
        self : JointNet
            The net.
        """
        if not self.initialized_:
            self.initialize()
        self._begins = True
        self.notify("on_train_begin", X=X.table, y=X.y)
        self._begins = False
        try:
            self.fit_loop(X)
        except KeyboardInterrupt:
            self.interrupted_ = True
        self.notify("on_train_end", X=X.table, y=X.y)
        return self

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one pass and record its losses, reading the device once.

        Parameters
        ----------
        iterator : JointBatches, RowsDataset or None
            None skips the pass.
        training : bool
            Whether to train.
        prefix : {"train", "valid"}
            Of the names in the history.
        step_fn : callable
            Called for each batch.
        **fit_params : dict
            Unused.
        """
        if iterator is None:
            return
        if not training:
            losses, total = step_fn(iterator)
        else:
            self._training.begin_epoch()
            for batch in iterator:
                if self._notifies_batches:
                    self.notify("on_batch_begin", batch=batch, training=True)
                step = step_fn(batch)
                if self._notifies_batches:
                    self.notify("on_batch_end", batch=batch, training=True, **step)
            losses = self._training.end_training_epoch()
            total = self._training.weigh(losses)
            # One record stands for all batches; Checkpoint looks for it.
            self.history.new_batch()
            self.history.record_batch("train_loss", float(np.mean(total)))
        self._record(prefix, losses, total)

    def _record(self, prefix, losses, total):
        counted = np.isfinite(total) & self._training.reported
        mean = float(total[counted].mean()) if counted.any() else float("nan")
        name = f"{prefix}_loss"
        earlier = [row[name] for row in self.history[:-1]]
        best = min((v for v in earlier if np.isfinite(v)), default=np.inf)
        self.history.record(f"{prefix}_losses", _mean_by_task(losses[counted]))
        self.history.record(name, mean)
        self.history.record(f"{name}_best", bool(mean < best))

    def train_step(self, batch, **fit_params):
        """Take one step of every network.

        Parameters
        ----------
        batch : Batch
            One a network.
        **fit_params : dict
            Unused.

        Returns
        -------
        step : dict
            ``loss``: Tensor of shape (n_networks, n_tasks); ``y_pred``: None.
        """
        return self.train_step_single(batch)

    def train_step_single(self, batch, **fit_params):
        """Compute gradients, clip, and step.

        Parameters
        ----------
        batch : Batch
            One a network.
        **fit_params : dict
            Unused.

        Returns
        -------
        step : dict
            ``loss``: Tensor of shape (n_networks, n_tasks); ``y_pred``: None.
        """
        return {"loss": self._training.train_step(batch), "y_pred": None}

    def validation_step(self, batch, **fit_params):
        """Score every network on its held-out rows.

        Parameters
        ----------
        batch : RowsDataset
            The held-out rows, for callbacks.
        **fit_params : dict
            Unused.

        Returns
        -------
        losses, total : ndarray of shape (n_live, n_tasks) and (n_live,)
            By task, and weighted means.
        """
        losses, total = self._training.validate()
        if self._notifies_batches:
            held_out = torch.from_numpy(self._training.held_out_predictions())
            self.notify(
                "on_batch_end",
                batch=(batch.table, batch.y),
                training=False,
                loss=torch.tensor(total.mean()),
                y_pred=held_out[self._held_out],
            )
        return losses, total


def _sees_batches(callback):
    for name in ("on_batch_begin", "on_batch_end"):
        if getattr(type(callback), name, None) is not getattr(Callback, name):
            return True
    return False


def _mean_by_task(losses):
    """Average over networks; NaN for tasks that no network has a loss for."""
    counted = np.isfinite(losses)
    total = np.where(counted, losses, 0.0).sum(axis=0)
    n_counted = counted.sum(axis=0)
    return np.where(n_counted > 0, total / np.maximum(n_counted, 1), np.nan).tolist()
