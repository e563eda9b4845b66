"""From a batch to gradients: the objective and the weighting of tasks."""

import numpy as np
import torch

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
        self.module = module
        self._membership = None

    def take(self, module, index):
        """Go on with some of the networks.

        Parameters
        ----------
        module : BankModule
            Holds the networks from now on.
        index : Tensor of int64
            Their positions among those of before.
        """
        self.module = module
        for name, value in vars(self).items():
            if name in _PER_NETWORK:
                setattr(self, name, value[index])

    def backward(self, batch):
        """Compute the gradients of one batch.

        Parameters
        ----------
        batch : Batch
            One a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached; they average to the epoch's losses.
        weights : Tensor of shape (n_networks, n_tasks) or None
            Of the weighting; None for constant ones.
        """
        if self.module.weighting.constant:
            sums = self._sums(self.module(batch.inputs, batch.task), batch)
            total = (sums * self.coefficients).sum()
            self._add_penalty(total, batch).backward()
            return sums.detach() * self.per_unit, None
        return self._backward_weighted(batch)

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

    def _sums(self, outputs, batch):
        cells = self.module.losses.cells(outputs, batch.targets) * batch.weights
        return self._by_task(cells, batch.task)

    def _by_task(self, cells, task):
        """Sum cells to (n_networks, n_tasks)."""
        if task is None:
            return cells.sum(1)
        n_networks = len(cells)
        # One slot more for padding, which has weight zero.
        offsets = torch.arange(n_networks, device=task.device) * (self.n_tasks + 1)
        flat = (task + offsets[:, None]).flatten()
        total = cells.new_zeros(n_networks * (self.n_tasks + 1))
        total = total.index_add(0, flat, cells.sum(-1).flatten())
        return total.view(n_networks, -1)[:, :-1]

    def _add_penalty(self, total, batch):
        def share():
            return self._by_task(batch.weights, batch.task) * self.share_unit

        penalty = self.module.architecture.penalty(share)
        return total if penalty is None else total + penalty.sum()

    def _backward_weighted(self, batch):
        architecture, weighting = self.module.architecture, self.module.weighting
        if not architecture.has_features:
            raise ValueError(
                f"{type(weighting).__name__} weighs tasks on a representation they "
                f"share, and {type(architecture).__name__} has none. Use "
                "weighting=Equal(), or another architecture."
            )
        features = self.module.features(batch.inputs)
        leaf = features.detach().requires_grad_()
        outputs = architecture.head(leaf, batch.task)
        losses = self.losses(outputs, batch)
        present = self._by_task(batch.weights, batch.task) > 0
        known = losses.detach()
        learned = weighting.penalty(known, present)
        if learned is not None:
            learned.sum().backward()
        heads = (self.task_weights * losses).sum() / self.n_tasks
        if weighting.needs == "jacobian":
            # No weights to multiply afterwards: the user's enter with the gradients.
            jacobian = self._jacobian(features, leaf, losses).flatten(2)
            jacobian = jacobian * self.task_weights.unsqueeze(-1)
            gradient = weighting.combine(jacobian, known, present)
            weights = torch.ones_like(known)
            self._add_penalty(heads, batch).backward()
            self._set_shared_gradient(features, gradient / self.n_tasks)
        else:
            gramian = None
            if weighting.needs == "gramian":
                gramian = self._gramian(features, leaf, outputs, losses)
            weights = rescaled(weighting.weights(known, gramian, present))
            shared = (self.task_weights * weights * losses).sum() / self.n_tasks
            (trunk,) = torch.autograd.grad(shared, leaf, retain_graph=True)
            self._add_penalty(heads, batch).backward()
            if features.requires_grad:  # a model without hidden layers has no trunk
                features.backward(trunk)
        return known, weights

    def _gramian(self, features, leaf, outputs, losses):
        head = self.module.architecture.linear_head()
        if self.module.weighting.gradients == "parameters" or head is None:
            jacobian = self._jacobian(features, leaf, losses).flatten(2)
            return jacobian @ jacobian.mT
        # A task's gradient at the features is its gradient at its outputs times its
        # columns of the head, so inner products are products of two small Gramians.
        (at_outputs,) = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
        head = head.detach()
        by_output = (at_outputs.mT @ at_outputs) * (head.mT @ head)
        if self._membership is None:
            self._membership = self.module.losses.membership(head.device, head.dtype)
        return self._membership.T @ by_output @ self._membership

    def _jacobian(self, features, leaf, losses):
        """Differentiate one task after the other: (n_networks, n_tasks, ...)."""
        at_parameters = self.module.weighting.gradients == "parameters"
        if self.row_tasks and not at_parameters:
            name = type(self.module.weighting).__name__.removesuffix("Module")
            raise ValueError(
                f"{name}(gradients='features') compares tasks row by row, and with row "
                "tasks each row has one task only, so no two tasks ever meet. Pass "
                f"{name}(gradients='parameters')."
            )
        shared = self.module.shared_parameters()
        if at_parameters and not shared:
            return losses.new_zeros(*losses.shape, 0)
        rows = []
        for t in range(self.n_tasks):
            (gradient,) = torch.autograd.grad(
                losses[:, t].sum(), leaf, retain_graph=True
            )
            if at_parameters:
                parts = torch.autograd.grad(
                    features,
                    shared,
                    gradient,
                    retain_graph=True,
                    materialize_grads=True,
                )
                gradient = torch.cat([part.flatten(1) for part in parts], dim=1)
            rows.append(gradient)
        return torch.stack(rows, dim=1)

    def _set_shared_gradient(self, features, gradient):
        if self.module.weighting.gradients == "features":
            if features.requires_grad:
                features.backward(gradient.view(features.shape))
            return
        start = 0
        for parameter in self.module.shared_parameters():
            size = parameter[0].numel()
            part = gradient[:, start : start + size]
            parameter.grad = part.reshape(parameter.shape).contiguous()
            start += size


def rescaled(weights):
    """Rescale weights to sum to the number of tasks, where their sum is positive.

    Parameters
    ----------
    weights : Tensor of shape (n_networks, n_tasks)
        Of any scale.

    Returns
    -------
    weights : Tensor of shape (n_networks, n_tasks)
        Rows whose sum is not positive are left as they are.
    """
    total = weights.sum(-1, keepdim=True)
    positive = total > 0
    scale = weights.shape[-1] / torch.where(positive, total, 1.0)
    return weights * torch.where(positive, scale, 1.0)
