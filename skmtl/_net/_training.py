"""The course of one training: live networks, best epochs, stopping, divergence."""

import math
from functools import cached_property

import numpy as np
import torch

from .._bank import RowsBank, take_networks
from .._streams import Streams
from ._batches import Batch, JointBatches, padded_rows
from ._best_epochs import BestEpochs, held_out_means, network_tensors
from ._column_losses import initial_bias
from ._devices import resolve_device, step_work
from ._fingerprint import fingerprint
from ._objective import Objective
from ._optimizer import bank_optimizer, clip_by_network, clip_limits
from ._table import Table
from ._training_state import load_tensors

# Networks that have stopped leave the bank once they are this share of it.
_COMPACT_SHARE = 0.25
# Rows of all networks in one forward pass without gradients.
_VALID_ROWS = 16384
# And floats of their widest layer; this holds back images rather than tables.
_VALID_FLOATS = 2**24


class BankTraining:
    """Train the networks of some plans as one bank.

    Parameters
    ----------
    blueprint : Blueprint
        Of the bank.
    plans : sequence of NetworkPlan
        One a network.
    data : TaskData
        What they train on.
    device : str
        Where they train; "auto" goes by the work of a step.
    start : dict of str to Tensor, optional
        Weights to start from instead of drawn ones. With held-out rows they count as
        epoch 0, so that no network ends worse there than it began.

    Attributes
    ----------
    module : BankModule
        All networks. Those in training hold their current weights after each epoch,
        those that stopped their best.
    optimizer : BankAdamW
        Of the networks in training.
    best : BestEpochs
        Of the networks that hold out rows.
    work : float
        Multiply-adds of one training step of the whole bank.
    in_epoch : bool
        Whether an epoch is under way.
    last_epoch : ndarray of shape (n_networks,), int
        Last epoch that each network trained in.
    diverged : dict
        From network to (epoch, task) where its loss was first not finite.
    weight_history : list of ndarray of shape (n_networks, n_tasks)
        Mean weights of the weighting, by epoch.
    conflict_history : list of ndarray of shape (n_tasks, n_tasks)
        Mean cosines between the tasks' gradients, by epoch; empty for weightings that
        look at losses alone.
    """

    def __init__(self, blueprint, plans, data, device, start=None):
        self.plans = list(plans)
        self.data = data
        self.start = start
        self.epoch = 0
        self.in_epoch = False
        n_networks = len(self.plans)
        self.live = np.arange(n_networks)
        self.streams = Streams([plan.key for plan in self.plans])
        self.module = blueprint.build(self.streams if start is None else None)
        self.module.use_streams(self.streams)
        if start is None:
            self._start_at_constant_prediction()
        else:
            load_tensors(self.module, start)
        self.work = self._step_work()
        self.device = device = resolve_device(device, self.work)
        self.streams.device = device
        self.module.to(device)
        self._live_module = self.module
        self._prepare_steps(getattr(torch, blueprint.dtype))
        self.optimizer = bank_optimizer(self.module, self.plans)
        self._limits = clip_limits(self.plans, self.table.weights)
        if start is None:
            self.module.weighting.reset()
        self._held = np.array([plan.valid_rows is not None for plan in self.plans])
        self.validates = bool(self._held.any())
        self.best = BestEpochs(n_networks, len(data.task_names))
        self.last_epoch = np.zeros(n_networks, int)
        self.diverged = {}
        self.weight_history = []
        self.conflict_history = []
        self._stopped = np.zeros(n_networks, bool)
        if self.validates:
            self._prepare_validation()
            if start is not None:
                self.validate()

    # -- what joint and episodic training do each in their own way -----------------

    def _step_work(self):
        """Count the multiply-adds of one step of the whole bank."""
        return step_work(self.module, self.plans)

    def _prepare_steps(self, dtype):
        """Make the table, the batches and the objective."""
        self.table = Table(
            self.data, self.plans, self.module.encoder, self.device, dtype
        )
        self.batches = JointBatches(self.table, self.plans, self.streams)
        self.objective = Objective(self.module, self.plans, self.data)

    def _take_batches(self, kept):
        self.batches.take(self._live_plans)

    def _take_validation(self, kept, index):
        self._valid_rows = self._valid_rows[index]
        self._valid_sizes = self._valid_sizes[kept]

    # -- what is known of the whole bank -------------------------------------------

    @property
    def thread_work(self):
        """Multiply-adds by which threads are chosen, float."""
        return self.work

    @property
    def best_epoch(self):
        """Best epoch of each network, ndarray of int; 0 before the first."""
        return self.best.epoch

    @property
    def best_loss(self):
        """Validation loss of each network at its best epoch, ndarray."""
        return self.best.loss

    @cached_property
    def fingerprint(self):
        """What the course of the training depends on, dict of str to str."""
        return fingerprint(self)

    def _start_at_constant_prediction(self):
        bias = [
            initial_bias(
                plan,
                self.data.y[plan.train_rows],
                plan.weight(self.data)[plan.train_rows],
            )
            for plan in self.plans
        ]
        self.module.architecture.set_output_bias(torch.as_tensor(np.array(bias)))

    @property
    def best_outputs(self):
        """Raw outputs of each network for its held-out rows at its best epoch, list."""
        return self.best.predictions

    @property
    def luck(self):
        """What each task would be spared by an epoch of its own, by network; ndarray.

        In loss on held-out rows, of shape (n_networks, n_tasks).
        """
        return self.best.task_loss - self.best.lowest_task_loss

    @property
    def counted(self):
        """Whether each network in the bank still trains, ndarray of bool."""
        return ~self._stopped[self.live]

    @property
    def reported(self):
        """Whether each network in the bank enters means over networks, ndarray of bool.

        Those that still train, without those that learn a single column.
        """
        shares = [self.plans[k].only_column is None for k in self.live]
        return self.counted & np.array(shares, bool)

    # -- one epoch ---------------------------------------------------------------

    def begin_epoch(self):
        """Set the learning rates of the epoch and clear its sums."""
        self.optimizer.schedule = np.array(
            [
                0.5
                * (1 + math.cos(math.pi * self.epoch / p.hyperparameters.max_epochs))
                for p in self._live_plans
            ]
        )
        self.epoch += 1
        self.in_epoch = True
        self._loss_sum = 0.0
        self._weight_sum = 0.0
        self._live_module.train()

    @property
    def _live_plans(self):
        return [self.plans[k] for k in self.live]

    def train_step(self, batch):
        """Take one step of every network.

        Parameters
        ----------
        batch : Batch
            One a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached, of the networks in training.
        """
        self._clear_gradients()
        self.streams.n_rows = batch.n_rows
        losses, weights = self.objective.backward(batch, self.optimizer.n_steps)
        if self._limits is not None:
            dense = [
                p
                for g in self.optimizer.param_groups
                if g["rows"] is None
                for p in g["params"]
            ]
            clip_by_network(dense, self._limits)
        # torch's schedulers look for a call of step; its hooks cost as much as the
        # update of a small network, so they run once an epoch.
        first = not torch.is_tensor(self._loss_sum)
        step = self.optimizer.step if first else self.optimizer.update
        rates = self._live_module.weighting.head_rates()
        if rates is None:
            step(active=batch.active)
        else:
            self._step_at_rates(step, rates, batch.active)
        if self._live_module.weighting.sees_step_end:
            # In evaluation mode: dropout neither blurs them nor moves its streams.
            self._live_module.eval()
            with torch.no_grad():
                outputs = self._live_module(batch.inputs, batch.task)
                after = self.objective.losses(outputs, batch)
            self._live_module.train()
            self._live_module.weighting.on_step_end(after)
        # Sums stay on the device: nothing waits for it before the epoch ends.
        self._loss_sum = self._loss_sum + losses
        if weights is not None:
            if batch.active is not None:
                # Some methods give weights to a network without rows.
                weights = torch.where(batch.active[:, None], weights, 0.0)
            self._weight_sum = self._weight_sum + weights
        return losses

    @torch.no_grad()
    def _step_at_rates(self, step, rates, active):
        """Step, and go further or less far in what belongs to one task.

        A factor on gradients would be lost on AdamW, which divides by their size.
        """
        own = self._live_module.architecture.task_parameters()
        before = [parameter.clone() for parameter in own]
        step(active=active)
        factor = self.objective.by_head(rates)
        for parameter, old in zip(own, before, strict=True):
            parameter.copy_(torch.lerp(old, parameter, factor))

    def _clear_gradients(self):
        # Optimizer.zero_grad does the same through hooks and a profiler.
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def end_training_epoch(self):
        """Read the epoch's losses and find networks that have diverged.

        Returns
        -------
        losses : ndarray of shape (n_live, n_tasks), float64
            Mean training losses.
        """
        mean = self._loss_sum / self.objective.n_batches
        self._live_module.weighting.on_epoch_end(mean)
        losses = mean.cpu().double().numpy()
        weights = np.ones((len(self.plans), losses.shape[1]))
        if torch.is_tensor(self._weight_sum):
            used = self._weight_sum / self.objective.n_batches
            weights[self.live] = used.cpu().double().numpy()
        self.weight_history.append(weights)
        self._note_divergence(losses)
        sound = [k not in self.diverged for k in self.live] & self.reported
        conflict = self.objective.conflict.take(sound)
        if conflict is not None:
            self.conflict_history.append(conflict)
        # Without held-out rows the last epoch is the best.
        trained = self.live[self.counted]
        self.last_epoch[trained] = self.epoch
        last = trained[~self._held[trained]]
        self.best_epoch[last] = self.epoch
        return losses

    def _note_divergence(self, losses):
        lost = ~np.isfinite(losses).all(axis=1) & self.counted
        for i in np.flatnonzero(lost):
            task = self.data.task_names[np.flatnonzero(~np.isfinite(losses[i]))[0]]
            self.diverged.setdefault(int(self.live[i]), (self.epoch, task))

    def end_epoch(self):
        """Let networks that are done stop, and stopped ones leave the bank."""
        self.in_epoch = False
        if self._live_module is not self.module:
            self._write_back(self._live_module, self.live)
        done = np.array([self._is_done(k) for k in self.live])
        news = done & self.counted
        self._stopped[self.live] = done
        if done.all():
            self.live = self.live[:0]
            return
        unheld = np.flatnonzero(news & ~self._held[self.live])
        self.best.store(self._live_module, unheld, self.live[unheld])
        if done.mean() >= _COMPACT_SHARE:
            self._compact(np.flatnonzero(~done))

    def _is_done(self, k):
        if self._stopped[k]:
            return True
        choice = self.plans[k].hyperparameters
        if k in self.diverged or self.epoch >= choice.max_epochs:
            return True
        if not self._held[k] or choice.n_iter_no_change is None:
            return False
        return self.epoch - self.best_epoch[k] >= choice.n_iter_no_change

    def _compact(self, kept):
        index = torch.from_numpy(kept).to(self.device)
        old = self._live_module
        self.streams.take(kept.tolist())
        new = take_networks(old, index)
        new.use_streams(self.streams)
        new_parameters = dict(new.named_parameters())
        self.optimizer.take(
            {p: new_parameters[name] for name, p in old.named_parameters()}, kept
        )
        lazy = [m for m in new.modules() if isinstance(m, RowsBank) and m.lazy]
        for group, bank in zip(
            [g for g in self.optimizer.param_groups if g["rows"] is not None],
            lazy,
            strict=True,
        ):
            group["rows"] = bank
        self.live = self.live[kept]
        self.table.take(index)
        self.table.encoder = new.encoder
        self.objective.take(new, index)
        self._take_batches(kept)
        if self._limits is not None:
            self._limits = self._limits[index]
        if self.validates:
            self._take_validation(kept, index)
        self._live_module = new

    @torch.no_grad()
    def _write_back(self, module, live):
        """Copy the current weights of networks in training into the whole bank."""
        rows = torch.from_numpy(live).to(self.device)
        whole = network_tensors(self.module)
        for name, tensor in network_tensors(module).items():
            whole[name].index_copy_(0, rows, tensor)

    # -- validation --------------------------------------------------------------

    def _prepare_validation(self):
        nothing = np.array([], int)
        rows = [
            nothing if plan.valid_rows is None else plan.valid_rows
            for plan in self.plans
        ]
        self._valid_rows = padded_rows(rows, self.table.n_rows, self.device)
        self._valid_sizes = np.array(
            [
                self.data.task_sizes(valid, plan.weight(self.data))
                for valid, plan in zip(rows, self.plans, strict=True)
            ]
        )

    @torch.no_grad()
    def validate(self):
        """Score every network on its held-out rows, and keep the best ones.

        Returns
        -------
        losses : ndarray of shape (n_live, n_tasks), float64
            Mean validation losses; NaN for tasks without held-out labels.
        total : ndarray of shape (n_live,), float64
            Their means, weighted by the task weights.
        """
        module = self._live_module.eval()
        n_networks, n_valid = self._valid_rows.shape
        n_rows = min(_VALID_ROWS, _VALID_FLOATS // module.architecture.widest)
        chunk = max(1, n_rows // n_networks)
        sums, outputs = 0.0, []
        for start in range(0, n_valid, chunk):
            rows = self._valid_rows[:, start : start + chunk]
            batch = Batch(self.table.inputs(rows), *self.table.labels(rows), None, None)
            part = module(batch.inputs, batch.task)
            sums = sums + self.objective._sums(part, batch)
            outputs.append(part)
        sizes = self._valid_sizes
        with np.errstate(invalid="ignore", divide="ignore"):
            losses = np.where(sizes > 0, sums.cpu().double().numpy() / sizes, np.nan)
        total = self.weigh(np.where(sizes > 0, losses, 0.0), sizes > 0)
        self._note_divergence(np.where(sizes > 0, losses, 0.0))
        self._keep_best(total, torch.cat(outputs, dim=1), losses)
        return losses, total

    def weigh(self, losses, counted=True):
        """Average losses over tasks by the task weights.

        Parameters
        ----------
        losses : ndarray of shape (n_live, n_tasks)
            Of the networks in training.
        counted : ndarray of shape (n_live, n_tasks), bool, default=all
            Tasks that enter the mean.

        Returns
        -------
        total : ndarray of shape (n_live,)
            One a network; 0 when no task enters.
        """
        weights = np.array([p.hyperparameters.task_weights for p in self._live_plans])
        weights = weights * counted
        total = weights.sum(axis=1)
        return (weights * losses).sum(axis=1) / np.where(total > 0, total, 1.0)

    def _keep_best(self, total, outputs=None, losses=None):
        # Stopped networks may still be in the bank; nothing of them counts any more.
        counts = self.counted & self._held[self.live]
        better = np.flatnonzero((total < self.best.loss[self.live]) & counts)
        improved = self.live[better]
        self.best.loss[improved] = total[better]
        self.best.epoch[improved] = self.epoch
        self.best.store(self._live_module, better, improved)
        if outputs is not None:
            for i in better:
                self.best.predictions[self.live[i]] = outputs[i]
        if losses is not None:
            self.best.task_loss[improved] = losses[better]
            counted = self.live[counts]
            lowest = self.best.lowest_task_loss
            lowest[counted] = np.fmin(lowest[counted], losses[counts])

    def held_out_predictions(self):
        """Predict every row by the networks that held it out, at their best epochs.

        Returns
        -------
        predictions : ndarray of shape (n_rows, n_predictions), float64
            Means over networks; NaN for rows that none held out.
        """
        rows = {
            k: plan.valid_rows
            for k, plan in enumerate(self.plans)
            if k not in self.diverged and plan.only_column is None
        }
        return held_out_means(
            self.best.predictions,
            rows,
            self.module.losses,
            len(self.data.X),
            self.table.weights,
        )

    def finish(self):
        """Put the best weights in place.

        Returns
        -------
        kept : list of int
            Networks that did not diverge.
        """
        kept = [k for k in range(len(self.plans)) if k not in self.diverged]
        if self._live_module is not self.module and len(self.live):
            self._write_back(self._live_module, self.live)
        self.best.put_back(self.module)
        self.module.use_streams(None)
        for part in self.module.modules():
            if isinstance(part, RowsBank):
                part.lazy, part.selected = False, None
        self.module.eval()
        return kept
