"""Gradients of single tasks: at the shared representation, or at the parameters."""

import numpy as np
import torch

from .._bank import LinearBank

# Floats of one layer's gradients that are worked on at a time, so that they stay in the
# cache; by measurement, see examples/benchmarks/bench_weighting.py.
_CACHED = 2**18
# Tasks up to which NumPy is quicker; with more its BLAS takes threads of its own.
_FEW = 16


class Taps:
    """Note what goes into linear maps and what comes out, during a forward pass.

    The gradient of a linear map's weights is a product of the two sides of it, so that
    the gradients of all tasks are a few large products, without autograd going through
    the parameters once a task.

    Parameters
    ----------
    module : BankModule
        In training.

    Attributes
    ----------
    banks : list of LinearBank
        Those that the forward pass went through and that all tasks train.
    calls : list of (Tensor, Tensor)
        Inputs and outputs of each of them.
    """

    def __init__(self, module):
        shared = {id(parameter) for parameter in module.shared_parameters()}
        self._linear = [
            part
            for part in module.modules()
            if isinstance(part, LinearBank) and id(part.weight) in shared
        ]
        self._shared = module.shared_parameters()
        self._room = None
        self._covers = len(shared) == 2 * len(self._linear)
        self.banks, self.calls = [], []

    @property
    def complete(self):
        """Whether the linear maps hold all shared parameters, one pass each, bool."""
        n_banks = len(self._linear)
        passed = len(self.banks) == len(set(self.banks)) == n_banks > 0
        return self._covers and passed

    def __enter__(self):
        self.banks, self.calls = [], []
        self._handles = [b.register_forward_hook(self._note) for b in self._linear]
        return self

    def __exit__(self, *error):
        for handle in self._handles:
            handle.remove()

    def room(self, n_tasks):
        """Give memory for the gradients of all tasks, the same at every call.

        Parameters
        ----------
        n_tasks : int
            Number of tasks.

        Returns
        -------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            To be written to.
        parts : dict of Parameter to Tensor of shape (n_networks, n_tasks, ...)
            Views of it, by shared parameter.
        """
        if self._room is None:
            first = self._shared[0]
            sizes = [p[0].numel() for p in self._shared]
            jacobian = first.new_empty(len(first), n_tasks, sum(sizes))
            views = jacobian.split(sizes, dim=2)
            self._room = (
                jacobian,
                {
                    p: view.unflatten(2, p.shape[1:])
                    for p, view in zip(self._shared, views, strict=True)
                },
            )
        return self._room

    def _note(self, bank, inputs, outputs):
        self.banks.append(bank)
        self.calls.append((inputs[0], outputs))


class TaskGradients:
    """The gradients of the tasks' losses on one batch.

    Parameters
    ----------
    module : BankModule
        Whose gradients.
    features : Tensor of shape (n_networks, n_rows, n_features)
        On the graph of the shared part.
    leaf : Tensor of shape (n_networks, n_rows, n_features)
        The same, where the graph of the heads begins.
    outputs : Tensor of shape (n_networks, n_rows, n_outputs)
        Of the heads.
    at_outputs : Tensor of shape (n_networks, n_rows, n_outputs)
        Gradient of the sum of all task losses.
    tasks : TaskIndex
        Which task every output belongs to.
    taps : Taps or None
        Of the forward pass; needed at the parameters.
    """

    def __init__(self, module, features, leaf, outputs, at_outputs, tasks, taps):
        self.module = module
        self.features = features
        self.leaf = leaf
        self.outputs = outputs
        self.at_outputs = at_outputs
        self.tasks = tasks
        self.taps = taps

    # -- at the shared representation ----------------------------------------------

    def at_features(self, tasks=slice(None)):
        """Differentiate the losses by the features, which column tasks share.

        Parameters
        ----------
        tasks : slice, default=all
            Positions of the tasks.

        Returns
        -------
        jacobian : Tensor of shape (n_networks, n_tasks, n_rows, n_features)
            One gradient a task.
        """
        head = self.module.architecture.linear_head()
        if head is None:
            some = range(self.tasks.n_tasks)[tasks]
            return torch.stack([self._at_features_of(t) for t in some], dim=1)
        head, at_outputs = head.detach().mT, self.at_outputs.mT
        first, stop, _ = tasks.indices(self.tasks.n_tasks)
        owner = None
        if self.tasks.single:
            head, at_outputs = head[:, tasks], at_outputs[:, tasks]
        else:
            owner = self.tasks.owner
            some = ((owner >= first) & (owner < stop)).nonzero()[:, 0]
            head, at_outputs = head[:, some], at_outputs[:, some]
            owner = owner[some] - first
        # Contiguous, or the product takes over strides that make all that follows slow.
        each = at_outputs.contiguous().unsqueeze(-1) * head.contiguous().unsqueeze(2)
        if owner is None:
            return each
        size = len(each), stop - first, *each.shape[2:]
        return each.new_zeros(size).index_add(1, owner, each)

    def _at_features_of(self, t):
        """Differentiate the loss of one task by the features."""
        at_outputs = self.at_outputs * self.tasks.of_task(t)
        head = self.module.architecture.linear_head()
        if head is not None:
            return at_outputs @ head.detach().mT
        (gradient,) = torch.autograd.grad(
            self.outputs, self.leaf, at_outputs, retain_graph=True
        )
        return gradient

    def gramian_at_features(self):
        """Multiply the gradients at the features with one another.

        Returns
        -------
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Inner products, of the features that shared parameters feed.
        """
        architecture = self.module.architecture
        head = architecture.linear_head()
        n_shared = architecture.n_shared_features
        if head is None:
            jacobian = self.at_features()[..., :n_shared].flatten(2)
            return jacobian @ jacobian.mT
        # A task's gradient at the features is its gradient at its outputs times its
        # columns of the head, so inner products are products of two small Gramians.
        head, at_outputs = head.detach()[:, :n_shared], self.at_outputs
        few = self.tasks.single and self.tasks.n_tasks <= _FEW
        if head.device.type == "cpu" and few:
            # Small enough for the calls to cost more than the work; NumPy's cost less.
            head, at_outputs = head.numpy(), at_outputs.numpy()
            # A network that diverges says so by its loss, and not by warnings here.
            with np.errstate(over="ignore", invalid="ignore"):
                found = (at_outputs.mT @ at_outputs) * (head.mT @ head)
            return torch.from_numpy(found)
        by_output = (at_outputs.mT @ at_outputs) * (head.mT @ head)
        return self.tasks.join(self.tasks.join(by_output, dim=1), dim=2)

    # -- at the shared parameters --------------------------------------------------

    def at_parameters(self):
        """Differentiate the losses by the shared parameters.

        Returns
        -------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            In the order of ``module.shared_parameters()``.
        """
        shared = self.module.shared_parameters()
        if not shared or not self.features.requires_grad:
            n_shared = sum(p[0].numel() for p in shared)
            size = len(self.leaf), self.tasks.n_tasks, n_shared
            return self.leaf.new_zeros(size)
        if self.taps.complete and self.tasks.task is not None:
            parts = self._products_by_row(shared)
        elif self.taps.complete and self.module.architecture.is_chain:
            return self._along_chain()
        else:
            parts = self._one_by_one(shared)
        return torch.cat([part.flatten(2) for part in parts], dim=2)

    def gramian_at_parameters(self):
        """Multiply the gradients at the parameters with one another.

        Returns
        -------
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Inner products.
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared) or None
            None where it was not needed.
        """
        if self.tasks.task is not None and self.taps.complete and self._rows_are_few():
            return self._gramian_by_row(), None
        jacobian = self.at_parameters()
        return jacobian @ jacobian.mT, jacobian

    def _one_by_one(self, shared):
        """Go through autograd once a task."""
        rows = []
        for t in range(self.tasks.n_tasks):
            rows.append(
                torch.autograd.grad(
                    self.features,
                    shared,
                    self._at_features_of(t),
                    retain_graph=True,
                    materialize_grads=True,
                )
            )
        return [torch.stack(parts, dim=1) for parts in zip(*rows, strict=True)]

    def _along_chain(self):
        """Go back through linear maps and elementwise functions, many tasks at once."""
        calls = self.taps.calls
        hidden = [inputs for inputs, _ in calls[1:]]
        hidden.append(self.features[..., : calls[-1][1].shape[-1]])
        chain = [
            (bank, inputs.detach().mT.unsqueeze(1), slope.unsqueeze(1))
            for bank, (inputs, _), slope in zip(
                self.taps.banks, calls, self._slopes(hidden), strict=True
            )
        ]
        jacobian, parts = self.taps.room(self.tasks.n_tasks)
        n_rows = self.features.shape[1]
        widest = n_rows * max(bank.weight.shape[2] for bank in self.taps.banks)
        size = max(1, _CACHED // (widest * len(jacobian)))
        for start in range(0, self.tasks.n_tasks, size):
            chunk = slice(start, start + size)
            at = self.at_features(chunk)[..., : hidden[-1].shape[-1]]
            for bank, turned, slope in reversed(chain):
                at = at.mul_(slope)  # made here, and nobody else's
                _multiply_into(parts[bank.weight][:, chunk], turned, at)
                parts[bank.bias][:, chunk] = at.sum(2, keepdim=True)
                if bank is not chain[0][0]:
                    wide = at.flatten(1, 2) @ bank.weight.detach().mT
                    at = wide.unflatten(1, at.shape[1:3])
        return jacobian

    def _slopes(self, hidden):
        """Differentiate what lies behind each linear map."""
        if self.module.architecture.chain() is not None:  # relu and nothing else
            return [h.detach().sign() for h in hidden]
        # It is elementwise, so that the gradient of the sum is its derivative, for any
        # activation and dropout.
        return [
            torch.autograd.grad(h, z, torch.ones_like(h), retain_graph=True)[0]
            for h, (_, z) in zip(hidden, self.taps.calls, strict=True)
        ]

    # -- row tasks: every row has its own part in one gradient only -----------------

    def _by_row(self):
        """Go back to the outputs of the linear maps, for all rows at once."""
        (at_leaf,) = torch.autograd.grad(
            self.outputs, self.leaf, self.at_outputs, retain_graph=True
        )
        return torch.autograd.grad(
            self.features,
            [outputs for _, outputs in self.taps.calls],
            at_leaf,
            retain_graph=True,
            materialize_grads=True,
        )

    def _rows_are_few(self):
        """Whether products of rows cost less than gradients of tasks."""
        n_rows, n_tasks = self.leaf.shape[1], self.tasks.n_tasks
        weights = [bank.weight[0] for bank in self.taps.banks]
        by_row = n_rows**2 * sum(sum(w.shape) for w in weights)
        return by_row < (n_rows + n_tasks**2) * sum(w.numel() for w in weights)

    def _gramian_by_row(self):
        """Multiply the gradients of single rows, and sum them by task."""
        total = 0.0
        for (inputs, _), at in zip(self.taps.calls, self._by_row(), strict=True):
            inputs = inputs.detach()
            total = total + (inputs @ inputs.mT + 1.0) * (at @ at.mT)
        return self.tasks.join(self.tasks.join(total, dim=1), dim=2)

    def _products_by_row(self, shared):
        """Multiply both sides of every linear map, one task after the other in rows."""
        place, n_slots = self.tasks.places()
        found = {}
        calls = zip(self.taps.banks, self.taps.calls, self._by_row(), strict=True)
        for bank, (inputs, _), at in calls:
            inputs = inputs.detach().expand(len(at), -1, -1)
            left = self._in_places(inputs, place, n_slots)
            right = self._in_places(at, place, n_slots)
            found[id(bank.weight)] = left.mT @ right
            found[id(bank.bias)] = right.sum(2, keepdim=True)
        return [found[id(p)] for p in shared]

    def _in_places(self, rows, place, n_slots):
        n_networks, _, width = rows.shape
        n_tasks = self.tasks.n_tasks
        table = rows.new_zeros(n_networks * (n_tasks + 1) * n_slots, width)
        table.index_copy_(0, place, rows.flatten(0, 1))
        return table.view(n_networks, n_tasks + 1, n_slots, width)[:, :-1]


def _multiply_into(target, left, right):
    """Multiply stacks of matrices, without a copy where there is one network."""
    if len(target) == 1:
        n_tasks = right.shape[1]
        torch.bmm(left[0].expand(n_tasks, -1, -1), right[0], out=target[0])
    else:
        target.copy_(left @ right)


class TaskIndex:
    """Which task every output of a batch belongs to.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.
    membership : Tensor of shape (n_outputs, n_columns)
        Ones where an output belongs to a column.
    task : Tensor of shape (n_networks, n_rows), int64, or None
        Task of each row, ``n_tasks`` for padding; None for column tasks.
    """

    def __init__(self, n_tasks, membership, task=None):
        self.n_tasks = n_tasks
        self.membership = membership
        self.task = task
        # Most losses have one output a task, and nothing to join then.
        self.single = membership.shape[0] == membership.shape[1]

    @property
    def owner(self):
        """The column of each output, Tensor of shape (n_outputs,), int64."""
        return self.membership.argmax(1)

    def of_batch(self, task):
        """Take over the tasks of the rows of a batch.

        Parameters
        ----------
        task : Tensor of shape (n_networks, n_rows), int64, or None
            Task of each row.

        Returns
        -------
        index : TaskIndex
            This one for column tasks.
        """
        return self if task is None else TaskIndex(self.n_tasks, self.membership, task)

    def spread(self, values):
        """Give every output the value of its task.

        Parameters
        ----------
        values : Tensor of shape (n_networks, n_tasks)
            One a task.

        Returns
        -------
        spread : Tensor of shape (n_networks, 1 or n_rows, n_outputs or 1)
            To multiply outputs by; 0 for padding.
        """
        if self.task is not None:
            padded = torch.nn.functional.pad(values, (0, 1))
            return padded.gather(1, self.task).unsqueeze(-1)
        if not self.single:
            values = values @ self.membership.T
        return values.unsqueeze(1)

    def of_task(self, t):
        """Say which outputs belong to a task.

        Parameters
        ----------
        t : int
            Position of the task.

        Returns
        -------
        own : Tensor
            Ones and zeros, to multiply outputs by.
        """
        if self.task is not None:
            return (self.task == t).unsqueeze(-1).to(self.membership)
        return self.membership[:, t]

    def join(self, values, dim):
        """Sum an axis of outputs, or of rows under row tasks, by task.

        Parameters
        ----------
        values : Tensor of shape (n_networks, ...)
            With outputs, or rows, along one axis.
        dim : int
            That axis.

        Returns
        -------
        joined : Tensor of shape (n_networks, ...)
            With tasks along it.
        """
        if self.task is None:
            if self.single:
                return values
            size = [*values.shape]
            size[dim] = self.n_tasks
            return values.new_zeros(size).index_add(dim, self.owner, values)
        one_hot = torch.nn.functional.one_hot(self.task, self.n_tasks + 1)
        one_hot = one_hot[..., :-1].to(values.dtype)
        if dim == 1:
            return one_hot.mT @ values
        return values @ one_hot

    def places(self):
        """Lay out rows task by task.

        Returns
        -------
        place : Tensor of shape (n_networks * n_rows,), int64
            Of each row in a table (n_networks, n_tasks + 1, n_slots) laid out flat.
        n_slots : int
            Rows of the largest task.
        """
        n_networks = len(self.task)
        one_hot = torch.nn.functional.one_hot(self.task, self.n_tasks + 1)
        before = one_hot.cumsum(1).gather(2, self.task.unsqueeze(-1)).squeeze(-1) - 1
        n_slots = int(before.max()) + 1
        networks = torch.arange(n_networks, device=self.task.device)[:, None]
        place = (networks * (self.n_tasks + 1) + self.task) * n_slots + before
        return place.flatten(), n_slots
