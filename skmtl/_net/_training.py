"""The course of one training: live networks, best epochs, stopping, divergence."""

import math

import numpy as np
import torch

from .._bank import RowsBank, take_networks
from .._streams import Streams
from ._batches import Batch, JointBatches, padded_rows
from ._devices import resolve_device
from ._objective import Objective
from ._optimizer import BankAdamW, clip_by_network
from ._table import Table

# Networks that have stopped leave the bank once they are this share of it.
_COMPACT_SHARE = 0.25
# Rows of all networks in one forward pass without gradients.
_VALID_ROWS = 16384


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

    Attributes
    ----------
    module : BankModule
        All networks. Those in training hold their current weights after each epoch,
        those that stopped their best.
    optimizer : BankAdamW
        Of the networks in training.
    best_epoch : ndarray of shape (n_networks,), int
        Counted from 1; 0 before the first.
    diverged : dict
        From network to (epoch, task) where its loss was first not finite.
    weight_history : list of ndarray of shape (n_networks, n_tasks)
        Mean weights of the weighting, by epoch.
    """

    def __init__(self, blueprint, plans, data, device):
        self.plans = list(plans)
        self.data = data
        self.epoch = 0
        n_networks = len(self.plans)
        self.live = np.arange(n_networks)
        self.streams = Streams([plan.key for plan in self.plans])
        self.module = blueprint.build(self.streams)
        self._start_at_constant_prediction()
        self.device = device = resolve_device(device, self.work)
        self.streams.device = device
        self.module.to(device)
        self._live_module = self.module
        dtype = getattr(torch, blueprint.dtype)
        self.table = Table(data, self.plans, self.module.encoder, device, dtype)
        self.batches = JointBatches(self.table, self.plans, self.streams)
        self.objective = Objective(self.module, self.plans, data)
        self.optimizer = self._make_optimizer()
        self._limits = self._make_limits()
        self.module.weighting.reset()

        self._held = np.array([plan.valid_rows is not None for plan in self.plans])
        self.validates = bool(self._held.any())
        self.best_epoch = np.zeros(n_networks, int)
        self.best_loss = np.full(n_networks, np.inf)
        self.diverged = {}
        self.weight_history = []
        self._stopped = np.zeros(n_networks, bool)
        self._best = {}
        self._stored = np.zeros(n_networks, bool)
        self.valid_predictions = [None] * n_networks
        if self.validates:
            self._prepare_validation()

    def _start_at_constant_prediction(self):
        bias = [
            self.module.losses.initial_bias(
                self.data.y[plan.train_rows],
                self.data.weight[plan.train_rows],
                plan.targets,
            )
            for plan in self.plans
        ]
        self.module.architecture.set_output_bias(torch.as_tensor(np.array(bias)))

    def _make_optimizer(self):
        decayed, free, lazy = [], [], []
        # Gradients at the parameters are compared in full, without rows left out.
        dense = set()
        if self.module.weighting.gradients == "parameters":
            dense = set(self.module.embedding.modules())
        rows = [m for m in self.module.modules() if isinstance(m, RowsBank)]
        for bank in rows:
            if bank in dense:
                free.append(bank.weight)
            else:
                bank.lazy = True
                lazy.append({"params": [bank.weight], "decay": False, "rows": bank})
        in_rows = {id(bank.weight) for bank in rows}
        for part in (self.module.embedding, self.module.architecture):
            for name, parameter in part.named_parameters():
                if id(parameter) not in in_rows:
                    (decayed if name.endswith("weight") else free).append(parameter)
        free += list(self.module.weighting.parameters())
        groups = [{"params": decayed}, {"params": free, "decay": False}, *lazy]
        choices = [plan.hyperparameters for plan in self.plans]
        return BankAdamW(
            [group for group in groups if group["params"]],
            torch.tensor([c.lr for c in choices], dtype=torch.float64),
            torch.tensor([c.weight_decay for c in choices], dtype=torch.float64),
        )

    def _make_limits(self):
        limits = [p.hyperparameters.clip_norm for p in self.plans]
        if all(limit is None for limit in limits):
            return None
        limits = [math.inf if limit is None else limit for limit in limits]
        return torch.tensor(limits, device=self.device, dtype=self.table.dtype)

    @property
    def work(self):
        """Multiply-adds of one training step of the whole bank, float."""
        weights = sum(
            p.numel() for n, p in self.module.named_parameters() if n.endswith("weight")
        )
        lazy = sum(
            b.weight.numel() for b in self.module.modules() if isinstance(b, RowsBank)
        )
        # The weights of all networks together: each meets the rows of its own batch.
        rows = max(-(-len(p.train_rows) // p.n_batches) for p in self.plans)
        return 3.0 * rows * (weights - lazy)

    @property
    def counted(self):
        """Whether each network in the bank still trains, ndarray of bool."""
        return ~self._stopped[self.live]

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
        losses, weights = self.objective.backward(batch)
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
        (self.optimizer.step if first else self.optimizer.update)(active=batch.active)
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
            self._weight_sum = self._weight_sum + weights
        return losses

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
        # Without held-out rows the last epoch is the best.
        trained = self.live[self.counted]
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
        if self._live_module is not self.module:
            self._write_back(self._live_module, self.live)
        done = np.array([self._is_done(k) for k in self.live])
        news = done & self.counted
        self._stopped[self.live] = done
        if done.all():
            self.live = self.live[:0]
            return
        self._store(np.flatnonzero(news & ~self._held[self.live]))
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
        self.batches.take(self._live_plans)
        if self._limits is not None:
            self._limits = self._limits[index]
        if self.validates:
            self._valid_rows = self._valid_rows[index]
            self._valid_sizes = self._valid_sizes[kept]
        self._live_module = new

    @torch.no_grad()
    def _write_back(self, module, live):
        """Copy the current weights of networks in training into the whole bank."""
        rows = torch.from_numpy(live).to(self.device)
        whole = dict(self.module.named_parameters())
        for name, parameter in module.named_parameters():
            whole[name].index_copy_(0, rows, parameter)

    # -- validation --------------------------------------------------------------

    def _prepare_validation(self):
        nothing = np.array([], int)
        rows = [
            nothing if plan.valid_rows is None else plan.valid_rows
            for plan in self.plans
        ]
        self._valid_rows = padded_rows(rows, self.table.n_rows, self.device)
        self._valid_sizes = np.array([self.data.task_sizes(r) for r in rows])

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
        chunk = max(1, _VALID_ROWS // n_networks)
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
        self._keep_best(total, torch.cat(outputs, dim=1))
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

    def _keep_best(self, total, outputs):
        # Stopped networks may still be in the bank; nothing of them counts any more.
        counts = self.counted & self._held[self.live]
        better = np.flatnonzero((total < self.best_loss[self.live]) & counts)
        improved = self.live[better]
        self.best_loss[improved] = total[better]
        self.best_epoch[improved] = self.epoch
        self._store(better)
        for i in better:
            self.valid_predictions[self.live[i]] = outputs[i]

    @torch.no_grad()
    def _store(self, positions):
        """Remember the weights of some of the networks in training."""
        if not len(positions):
            return
        source = torch.from_numpy(positions).to(self.device)
        target = torch.from_numpy(self.live[positions]).to(self.device)
        self._stored[self.live[positions]] = True
        for name, parameter in self._live_module.named_parameters():
            if name not in self._best:
                shape = (len(self.plans), *parameter.shape[1:])
                self._best[name] = parameter.new_zeros(shape)
            self._best[name].index_copy_(0, target, parameter.index_select(0, source))

    def held_out_predictions(self):
        """Predict every row by the networks that held it out, at their best epochs.

        Returns
        -------
        predictions : Tensor of shape (n_rows, n_predictions)
            Means over networks; NaN for rows that none held out.
        """
        n_rows, width = len(self.data.X), sum(self.module.losses.widths)
        kwargs = {"device": self.device, "dtype": self.table.dtype}
        total, count = (
            torch.zeros(n_rows, width, **kwargs),
            torch.zeros(n_rows, 1, **kwargs),
        )
        for k, outputs in enumerate(self.valid_predictions):
            if outputs is None or k in self.diverged:
                continue
            rows = torch.from_numpy(self.plans[k].valid_rows).to(self.device)
            outputs = self.module.losses.predict(outputs[None, : len(rows)])
            total.index_add_(0, rows, outputs)
            count.index_add_(0, rows, torch.ones_like(count[: len(rows)]))
        return torch.where(count > 0, total / count.clamp(min=1), torch.nan)

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
        if self._best:
            stored = torch.from_numpy(np.flatnonzero(self._stored)).to(self.device)
            with torch.no_grad():
                for name, parameter in self.module.named_parameters():
                    parameter[stored] = self._best[name][stored]
        self.module.use_streams(None)
        for part in self.module.modules():
            if isinstance(part, RowsBank):
                part.lazy, part.selected = False, None
        self.module.eval()
        return kept
