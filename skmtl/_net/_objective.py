"""From a batch to gradients: the objective and the weighting of tasks."""

from contextlib import nullcontext

import numpy as np
import torch

from ._conflict import Conflict
from ._task_gradients import Taps, TaskGradients, TaskIndex

_PER_NETWORK = ("per_unit", "task_weights", "coefficients", "share_unit", "n_batches")


class Objective:
    r"""The mean over tasks of weighted losses, for every network of a bank.

    The loss of task t on a batch is the sum of weight times cell loss, over the
    labelled weight of t per batch; over an epoch it averages to the mean cell loss. The
    heads follow :math:`\frac1T \sum_t v_t g_t` and the shared parameters
    :math:`\frac1T \sum_t v_t w_t g_t`, with the user's task weights v and the weights
    w of the weighting, which both sum to T.

    Parameters
    ----------
    module : BankModule
        In training.
    plans : sequence of NetworkPlan
        Task weights, rows and batches.
    data : TaskData
        Sizes of the tasks.
    """

    def __init__(self, module, plans, data):
        parameter = next(module.architecture.parameters())
        sizes = np.array([data.task_sizes(p.train_rows, p.weight(data)) for p in plans])
        sizes = torch.from_numpy(sizes)
        n_batches = torch.tensor([[p.n_batches] for p in plans])
        task_weights = np.array([p.hyperparameters.task_weights for p in plans])
        task_weights = torch.from_numpy(task_weights)
        self.n_tasks = len(data.task_names)
        self.row_tasks = data.row_tasks
        # A task without labels among the training rows of a network has loss zero.
        per_unit = torch.where(sizes > 0, n_batches / sizes.clamp(min=1e-300), 0.0)
        all_units = sizes.sum(1, keepdim=True)
        self.per_unit = per_unit.to(parameter)
        self.task_weights = task_weights.to(parameter)
        self.coefficients = (task_weights * per_unit / self.n_tasks).to(parameter)
        self.share_unit = (per_unit / all_units).to(parameter)
        self.n_batches = n_batches.to(parameter)
        # Then every task is in every batch, and nobody has to look.
        self._complete = not data.row_tasks and all(
            (p.weight(data)[p.train_rows] > 0).all() for p in plans
        )
        self._hold(module)
        self.conflict = Conflict()

    def _hold(self, module):
        self.module = module
        self._taps = Taps(module)
        membership = module.losses.membership(self.per_unit.device, self.per_unit.dtype)
        self._tasks = TaskIndex(self.n_tasks, membership)
        # What `weights` gave last, and the tasks that were present then: as long as
        # these are all tasks, it need not be asked for what it holds.
        self._held_weights, self._held_for = None, None
        self._everything = torch.ones_like(self.per_unit, dtype=torch.bool)
        # With one more for padding, whose weight is zero whatever stands here.
        self._padded = {
            name: torch.nn.functional.pad(getattr(self, name), (0, 1))
            for name in ("coefficients", "share_unit")
        }

    def take(self, module, index):
        """Go on with some of the networks.

        Parameters
        ----------
        module : BankModule
            Holds the networks from now on.
        index : Tensor of int64
            Their positions among those of before.
        """
        for name, value in vars(self).items():
            if name in _PER_NETWORK:
                setattr(self, name, value[index])
        self._hold(module)

    def backward(self, batch, n_steps=None):
        """Compute the gradients of one batch.

        Parameters
        ----------
        batch : Batch
            One a network.
        n_steps : ndarray of shape (n_networks,), int, optional
            Steps that each network has taken, by which weights are held; without it,
            they are computed anew.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached; they average to the epoch's losses.
        weights : Tensor of shape (n_networks, n_tasks) or None
            Of the weighting; None for constant ones.
        """
        if self.module.weighting.constant:
            cells = self._cells(self.module(batch.inputs, batch.task), batch)
            starts = [self._start(cells, batch.task)]
            penalty = self.module.architecture.penalty(self._share(batch))
            if penalty is not None:
                starts.append((penalty, torch.ones_like(penalty)))
            torch.autograd.backward(*zip(*starts, strict=True))
            return self._by_task(cells.detach(), batch.task) * self.per_unit, None
        return self._backward_weighted(batch, n_steps)

    def by_head(self, values):
        """Lay out values of tasks as the parameters of single tasks are.

        Parameters
        ----------
        values : Tensor of shape (n_networks, n_tasks)
            One a task.

        Returns
        -------
        spread : Tensor of shape (n_networks, 1, n_outputs) or (..., n_tasks + 1, 1)
            For column tasks and for row tasks.
        """
        if self.row_tasks:
            return torch.nn.functional.pad(values, (0, 1), value=1.0).unsqueeze(-1)
        return self._tasks.spread(values)

    def losses(self, outputs, batch):
        """Compute task losses.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the module.
        batch : Batch
            Its labels.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_tasks)
            0 for tasks that are absent.
        """
        return self._sums(outputs, batch) * self.per_unit

    def _cells(self, outputs, batch):
        return self.module.losses.cells(outputs, batch.targets) * batch.weights

    def _sums(self, outputs, batch):
        return self._by_task(self._cells(outputs, batch), batch.task)

    def _start(self, cells, task):
        """Give what to go back from, and its gradient."""
        if task is None:
            return cells.sum(1), self.coefficients
        factor = self._padded["coefficients"].gather(1, task)
        return cells, factor.unsqueeze(-1).expand_as(cells)

    def _by_task(self, cells, task):
        """Sum cells to (n_networks, n_tasks)."""
        if task is None:
            return cells.sum(1)
        # One slot more for padding, which has weight zero.
        total = cells.new_zeros(len(cells), self.n_tasks + 1)
        return total.scatter_add_(1, task, _over_columns(cells))[:, :-1]

    def _share(self, batch):
        def share(by_row=False):
            if by_row:
                unit = self._padded["share_unit"].gather(1, batch.task)
                return _over_columns(batch.weights) * unit
            return self._by_task(batch.weights, batch.task) * self.share_unit

        return share

    def _backward_weighted(self, batch, n_steps):
        module, architecture = self.module, self.module.architecture
        weighting = module.weighting
        if not architecture.has_features:
            return self._backward_apart(batch, n_steps)
        asks = weighting.needs != "losses" and self._are_due(n_steps)
        tapped = asks and weighting.gradients == "parameters"
        with self._taps if tapped else nullcontext():
            features = module.features(batch.inputs)
        head = architecture.linear_head()
        leaf = features.detach().requires_grad_(head is None)
        outputs = architecture.head(leaf, batch.task)
        tasks = self._tasks.of_batch(batch.task)
        losses, at_cells = self._differentiate(outputs, batch)
        present = self._present(batch)
        learned = weighting.penalty(losses, present)
        if learned is not None:
            learned.sum().backward()
        if asks:
            at_outputs = at_cells * tasks.spread(self.per_unit)
            gradients = TaskGradients(
                module, features, leaf, outputs, at_outputs, tasks, self._taps
            )
            gradient, weights = self._ask(gradients, losses, present)
        elif weighting.needs == "losses" or present is not self._held_for:
            gradient = None
            weights = rescaled(weighting.weights(losses, None, present))
        else:
            gradient, weights = None, self._held_weights
        starts = [(outputs, at_cells * tasks.spread(self.coefficients))]
        penalty = architecture.penalty(self._share(batch))
        if penalty is not None:
            starts.append((penalty.sum(), None))
        # A model without hidden layers has no trunk.
        if features.requires_grad and (gradient is None or not tapped):
            if gradient is not None:
                at_features = gradient.view(features.shape)
            elif batch.task is not None:
                # Each row is of one task, so what its head feels times one number.
                torch.autograd.backward(*zip(*starts, strict=True))
                at_features, starts = leaf.grad * tasks.spread(weights), []
            elif head is not None:
                # A factor on the outputs of a task is one on its columns of the head.
                head = head.detach() * tasks.spread(weights * self.coefficients)
                at_features = at_cells @ head.mT
            else:
                (at_features,) = torch.autograd.grad(
                    outputs,
                    leaf,
                    starts[0][1] * tasks.spread(weights),
                    retain_graph=True,
                )
            starts.append((features, at_features))
        torch.autograd.backward(*zip(*starts, strict=True))
        if gradient is not None and tapped:
            self._add_shared_gradient(gradient)
        return losses, weights

    def _backward_apart(self, batch, n_steps):
        """Weigh shared parameters where tasks read no common representation."""
        module, weighting = self.module, self.module.weighting
        if weighting.needs != "losses" and weighting.gradients == "features":
            raise ValueError(
                f"{weighting.name}(gradients='features') compares tasks on a "
                f"representation that they share, and {module.architecture.name} has "
                f"none. Pass {weighting.name}(gradients='parameters'), which compares "
                "them on shared parameters, or another architecture."
            )
        asks = weighting.needs != "losses" and self._are_due(n_steps)
        with self._taps if asks else nullcontext():
            outputs = module(batch.inputs, batch.task)
        tasks = self._tasks.of_batch(batch.task)
        losses, at_cells = self._differentiate(outputs, batch)
        present = self._present(batch)
        learned = weighting.penalty(losses, present)
        if learned is not None:
            learned.sum().backward()
        gradient = None
        if asks:
            at_outputs = at_cells * tasks.spread(self.per_unit)
            # The outputs are where the graphs of all tasks begin.
            gradients = TaskGradients(
                module, outputs, outputs, outputs, at_outputs, tasks, self._taps
            )
            gradient, weights = self._ask(gradients, losses, present)
        elif weighting.needs == "losses" or present is not self._held_for:
            weights = rescaled(weighting.weights(losses, None, present))
        else:
            weights = self._held_weights
        penalty = module.architecture.penalty(self._share(batch))
        if penalty is not None:
            penalty.sum().backward()
        shared, own = module.leaves()
        at_own = at_cells * tasks.spread(self.coefficients)
        if gradient is not None:
            self._add_shared_gradient(gradient)
        elif shared:
            found = torch.autograd.grad(
                outputs,
                shared,
                at_own * tasks.spread(weights),
                retain_graph=True,
                materialize_grads=True,
            )
            for leaf, part in zip(shared, found, strict=True):
                leaf.grad = part if leaf.grad is None else leaf.grad + part
        torch.autograd.backward(outputs, at_own, inputs=own)
        return losses, weights

    def _are_due(self, n_steps):
        """Say whether gradients are looked at, and tell the weighting for whom."""
        weighting = self.module.weighting
        weighting.due = None
        if weighting.update_every == 1 or n_steps is None:
            return True
        if len(n_steps) == 1:
            return int(n_steps[0]) % weighting.update_every == 0
        due = n_steps % weighting.update_every == 0
        if not due.all():
            weighting.due = due
        return bool(due.any())

    def _present(self, batch):
        """Say which tasks have labels in a batch: (n_networks, n_tasks), bool."""
        if self._complete and batch.active is None:
            # The same object every time, by which held weights are known again.
            return self._everything
        return self._by_task(batch.weights, batch.task) > 0

    def _differentiate(self, outputs, batch):
        """Compute the losses, and the gradient of the sums of cells at the outputs."""
        outputs = outputs.detach()
        known = self.module.losses.derivatives(outputs, batch.targets)
        if known is not None:
            return self.losses(outputs, batch), known[0] * batch.weights
        outputs.requires_grad_()
        sums = self._sums(outputs, batch)
        (gradient,) = torch.autograd.grad(sums.sum(), outputs)
        return sums.detach() * self.per_unit, gradient

    def _ask(self, gradients, losses, present):
        """Show the gradients to the weighting.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared) or None
            For the shared part, at the features or at the parameters; None where it
            follows from the weights by one more backward pass.
        weights : Tensor of shape (n_networks, n_tasks)
            Of the tasks.
        """
        weighting = self.module.weighting
        at_parameters = weighting.gradients == "parameters"
        if self.row_tasks and not at_parameters:
            raise ValueError(
                f"{weighting.name}(gradients='features') compares tasks row by row, "
                "and with row tasks each row has one task only, so no two tasks ever "
                f"meet. Pass {weighting.name}(gradients='parameters')."
            )
        if weighting.needs == "jacobian":
            # No weights to multiply afterwards: the user's enter with the gradients.
            jacobian = (
                gradients.at_parameters()
                if at_parameters
                else gradients.at_features().flatten(2)
            ) * self.task_weights.unsqueeze(-1)
            self.conflict.add(jacobian @ jacobian.mT)
            gradient, weights = weighting.combine(jacobian, losses, present)
            return gradient / self.n_tasks, weights
        if at_parameters:
            gramian, jacobian = gradients.gramian_at_parameters()
        else:
            gramian, jacobian = gradients.gramian_at_features(), None
        self.conflict.add(gramian)
        weights = rescaled(weighting.weights(losses, gramian, present))
        self._held_weights, self._held_for = weights, present
        if jacobian is None:
            return None, weights
        combined = (self.task_weights * weights / self.n_tasks).unsqueeze(1) @ jacobian
        return combined.squeeze(1), weights

    def _add_shared_gradient(self, gradient):
        shared = self.module.shared_parameters()
        parts = gradient.split([p[0].numel() for p in shared], dim=1)
        for parameter, part in zip(shared, parts, strict=True):
            part = part.view(parameter.shape)
            # A penalty of the architecture may have left its own there.
            found = parameter.grad
            parameter.grad = part if found is None else found + part


# Weights of both signs may almost cancel; below this share of their absolute sum that
# one is scaled to the number of tasks instead, or the direction would know no bound.
_LEAST_SUM = 0.1


# A network that diverges says so by its loss, and not by warnings of NumPy.
@np.errstate(over="ignore", invalid="ignore")
def _over_columns(cells):
    """Sum the cells of each row, of which row tasks have one."""
    return cells.squeeze(-1) if cells.shape[-1] == 1 else cells.sum(-1)


def rescaled(weights):
    """Rescale weights to sum to the number of tasks.

    Parameters
    ----------
    weights : Tensor of shape (n_networks, n_tasks)
        Of any scale.

    Returns
    -------
    weights : Tensor of shape (n_networks, n_tasks)
        Rows whose sum is not positive, or small beside their absolute sum, are scaled
        by that.
    """
    # A few numbers: on the CPU NumPy takes a third of the time.
    on_cpu = weights.device.type == "cpu"
    known = weights.numpy() if on_cpu else weights
    total, n_tasks = known.sum(-1)[:, None], known.shape[1]
    if on_cpu and known.min() >= 0 and total.min() > 0 and total.max() < np.inf:
        return torch.from_numpy(known * (n_tasks / total))
    where = np.where if on_cpu else torch.where
    size = abs(known).sum(-1)[:, None]
    total = where(total > _LEAST_SUM * size, total, size)
    scale = where(total > 0, n_tasks / where(total > 0, total, 1.0), 1.0)
    if not on_cpu:
        return known * scale
    # The weights of a network that diverges may be infinite; it is left out soon.
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(known * scale.astype(known.dtype))
