"""How strongly row tasks hold to what they share, chosen on held-out rows."""

from itertools import product

import numpy as np
import torch

from ._batches import padded_rows

# Tried in this order; of two that do equally well the first wins, and the very first
# leaves the heads as they were trained.
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
# Ridge strengths on the level of a task, in units of the loss of one labelled cell.
_STRENGTHS = (np.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)


@torch.no_grad()
def validate_pooling(net, training):
    """Let held-out rows choose how much of the deviations of row tasks to keep.

    Each network keeps the share of its deviations that does best on the rows it held
    out. Where losses are quadratic, the level of each of its tasks then moves to the
    minimum of the training loss plus a ridge, whose strength those rows choose, too.

    Parameters
    ----------
    net : BankNet
        Trained; its heads are moved.
    training : BankTraining
        Its record of held-out predictions is brought up to date.
    """
    found = training.best.predictions
    networks = [k for k in range(len(found)) if found[k] is not None]
    if not networks:
        return
    pooling = Pooling(net, [training.plans[k] for k in networks], training, networks)
    choice = pooling.best()
    architecture = net.module_.architecture
    n_networks = len(training.plans)
    share = torch.ones(n_networks, dtype=torch.float64)
    share[networks] = choice[0]
    levels = pooling.levels(*choice)
    shift = levels.new_zeros(n_networks, *levels.shape[1:])
    shift[networks] = levels
    architecture.pool(share, shift)
    # To the digits that training has, which are those that pickles keep.
    architecture.to(getattr(torch, net.blueprint.dtype))
    net.settle()
    outputs = pooling.held_out(*choice)
    for i, k in enumerate(networks):
        if share[k] != 1 or levels[i].any():
            n_rows = len(training.plans[k].valid_rows)
            found[k] = outputs[i, :n_rows].to(found[k])


class Pooling:
    """Outputs of trained networks with and without deviations, to be put together.

    Parameters
    ----------
    net : BankNet
        Trained.
    plans : sequence of NetworkPlan
        Of the networks that choose; each holds out rows.
    training : BankTraining
        Its data is read.
    networks : sequence of int
        Where they stand in the net.
    """

    def __init__(self, net, plans, training, networks):
        data = training.data
        n_rows, self.n_tasks = len(data.X), len(data.task_names)
        self.losses = net.module_.losses
        if len(networks) < len(training.plans):
            self.losses = self.losses.of_networks(networks)
        valid = padded_rows([plan.valid_rows for plan in plans], n_rows, "cpu")
        columns = [Columns(plan, data) for plan in plans]
        nobody = np.full(n_rows, self.n_tasks)
        shared = _outputs(net, data.X, nobody, networks)
        own = _outputs(net, data.X, data.task, networks)
        self._shared = _taken(shared, valid)
        self._deviation = _taken(own, valid) - self._shared
        self._task = torch.from_numpy(np.append(data.task, self.n_tasks))[valid]
        self._targets = _stacked(columns, "targets", valid)
        self._weight = _stacked(columns, "counted", valid)
        self._sums = None
        if self.losses.is_quadratic:
            pairs = zip(shared, own, columns, plans, strict=True)
            self._sums = [self._slopes(*each, data.task) for each in pairs]
            self._sums = torch.stack(self._sums).unbind(-1)

    def _slopes(self, shared, own, columns, plan, task):
        """Sum the derivatives at the training rows of one network, by task."""
        rows = torch.from_numpy(plan.train_rows)
        weight, targets = columns.weight[rows], columns.targets[rows]
        slopes = []
        for outputs in (shared, own):
            slope, curvature = self.losses.derivatives(
                outputs[rows].double()[None], targets[None]
            )
            slopes.append(slope[0] * weight)
        summands = torch.stack([*slopes, curvature * weight], dim=-1)
        total = summands.new_zeros(self.n_tasks, *summands.shape[1:])
        return total.index_add_(0, torch.from_numpy(task)[rows], summands)

    def best(self):
        """Find what does best on the held-out rows of each network.

        Returns
        -------
        share, strength : Tensor of shape (n_networks,)
            Of the deviations, and of the ridge on levels.
        """
        strengths = _STRENGTHS if self._sums is not None else _STRENGTHS[:1]
        candidates = torch.tensor(list(product(_SHARES, strengths))).double()
        losses = [self.loss(*candidate) for candidate in candidates]
        losses = torch.nan_to_num(torch.stack(losses), nan=torch.inf)
        return candidates[losses.argmin(dim=0)].unbind(-1)

    def loss(self, share, strength):
        """Sum the losses of the held-out rows, as they count in training.

        Parameters
        ----------
        share, strength : Tensor, scalar or of shape (n_networks,)
            As from :meth:`best`.

        Returns
        -------
        loss : Tensor of shape (n_networks,)
            By network.
        """
        cells = self.losses.cells(self.held_out(share, strength), self._targets)
        return (cells * self._weight).sum((1, 2))

    def held_out(self, share, strength):
        """Put the outputs for held-out rows together.

        Parameters
        ----------
        share, strength : Tensor, scalar or of shape (n_networks,)
            As from :meth:`best`.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_held_out, n_outputs)
            Padded to the longest.
        """
        outputs = self._shared + share.view(-1, 1, 1) * self._deviation
        if torch.isinf(strength).all():
            return outputs
        return outputs + _taken(self.levels(share, strength), self._task)

    def levels(self, share, strength):
        """Find how far the level of each task moves.

        Parameters
        ----------
        share, strength : Tensor, scalar or of shape (n_networks,)
            As from :meth:`best`.

        Returns
        -------
        levels : Tensor of shape (n_networks, n_tasks, n_outputs)
            Where the training loss of the task plus the strength times the square is
            least; zero for an infinite strength.
        """
        if self._sums is None:
            shape = len(self._shared), self.n_tasks, self._shared.shape[-1]
            return self._shared.new_zeros(shape)
        share, strength = (value.view(-1, 1, 1) for value in (share, strength))
        at_shared, at_own, curvature = self._sums
        slope = torch.lerp(at_shared, at_own, share.expand_as(at_own))
        levels = -slope / (curvature + 2 * strength)
        return torch.where(torch.isinf(strength), 0.0, levels)


class Columns:
    """Labels as a network sees them, with one row more for padding.

    Parameters
    ----------
    plan : NetworkPlan
        Of the network.
    data : TaskData
        What it was trained on, perhaps with rows of others.

    Attributes
    ----------
    targets, weight : Tensor of shape (n_rows + 1, n_columns)
        Encoded labels, and their weights.
    counted : Tensor of shape (n_rows + 1, n_columns)
        How much each label counts where held-out rows choose.
    """

    def __init__(self, plan, data):
        weight = plan.weight(data)
        # As in the objective of training: a task counts by `task_weights`, and not by
        # its size. The data may hold rows of other networks, too.
        rows = np.union1d(plan.train_rows, plan.valid_rows)
        sizes = data.task_sizes(rows, weight)
        per_unit = plan.hyperparameters.task_weights / np.maximum(sizes, 1e-300)
        counted = weight * np.where(sizes > 0, per_unit, 0.0)[data.task][:, None]
        self.targets = _one_more(plan.targets.encode(data.y))
        self.weight, self.counted = _one_more(weight), _one_more(counted)


def _outputs(net, table, task, networks):
    """Compute outputs of some networks, kept in the dtype of the training."""
    dtype = getattr(torch, net.blueprint.dtype)
    parts = [part[networks].to("cpu", dtype) for part in net.outputs(table, task)]
    return torch.cat(parts, dim=1)


def _stacked(columns, name, rows):
    pairs = zip(columns, rows, strict=True)
    return torch.stack([getattr(own, name)[index] for own, index in pairs])


def _taken(values, rows):
    """Gather rows of each network; the one past the last is zero."""
    padded = torch.nn.functional.pad(values, (0, 0, 0, 1))
    taken = padded.gather(1, rows.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
    return taken.double()


def _one_more(array):
    last = np.zeros((1, array.shape[1]))
    return torch.from_numpy(np.append(array, last, axis=0)).double()
