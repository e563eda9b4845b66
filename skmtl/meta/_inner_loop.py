"""The inner loop of MAML and its kin: a network for every task, and its steps."""

import threading
from functools import cached_property

import torch

from ._cells import TaskCells
from ._expansion import (
    add_gradient,
    expanded,
    flattened,
    leaves,
    per_task,
    task_norms,
)

# Adapted estimators share the modules of the one they come from: threads that predict
# with them must not see each other's weights in place.
_turns = threading.RLock()


class TaskNetworks:
    """One network a task, that starts as its network in the bank is.

    Parameters
    ----------
    module : EpisodicModule
        The bank.
    adapted : {"all", "head", "body"}
        What the tasks have of their own; the body is shared by "head".
    n_tasks : int
        Tasks of each network.

    Attributes
    ----------
    starts : dict of str to Parameter of shape (n_networks, ...)
        Of the bank, by their names in the architecture.
    trained : list of str
        Names of those that learn.
    weights : dict of str to Tensor of shape (n_networks * n_tasks, ...)
        Leaves that start there.
    """

    def __init__(self, module, adapted, n_tasks):
        self.module = module
        self.architecture = module.architecture
        self.heads_only = adapted == "head"
        part, prefix = self.architecture, ""
        if self.heads_only:
            part, prefix = self.architecture.heads, "heads"
        self.part = part
        self.n_tasks = n_tasks
        self.starts, self._buffers, self._places = {}, {}, {}
        with _turns:
            self._find(part, prefix)
        self.trained = [n for n, start in self.starts.items() if start.requires_grad]
        self.weights = leaves(self.starts, n_tasks)

    def _find(self, part, prefix):
        """List the tensors of the bank, and where they are kept."""
        for path, owner in part.named_modules(prefix=prefix):
            for tensors, own in (
                (self.starts, owner._parameters),
                (self._buffers, owner._buffers),
            ):
                for key, tensor in own.items():
                    if tensor is not None:
                        name = f"{path}.{key}" if path else key
                        tensors[name] = tensor
                        self._places[name] = own, key

    @cached_property
    def buffers(self):
        """Buffers of the tasks' networks, dict like :attr:`weights`."""
        return expanded(self._buffers, self.n_tasks)

    def read(self, inputs):
        """Turn inputs into what the networks of the tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.

        Returns
        -------
        inputs : Tensor of shape (n_networks * n_tasks, n_rows, n_read)
            The same, or the features when tasks have heads alone.
        """
        if self.heads_only:
            inputs = self.module.task_features(inputs)
        return inputs.flatten(0, 1)

    def run(self, weights, inputs):
        """Compute outputs.

        Parameters
        ----------
        weights : dict of str to Tensor of shape (n_networks * n_tasks, ...)
            In place of :attr:`weights`.
        inputs : Tensor of shape (n_networks * n_tasks, n_rows, n_read)
            From :meth:`read`.

        Returns
        -------
        outputs : Tensor of shape (n_networks * n_tasks, n_rows, n_outputs)
            Of the heads.
        """
        # What torch's functional_call does, without the search for tied tensors, which
        # costs more than a small network.
        with _turns:
            try:
                self._put(weights | self.buffers)
                return self.part(inputs)
            finally:
                self._put(self.starts | self._buffers)

    def _put(self, tensors):
        for name, tensor in tensors.items():
            owned, key = self._places[name]
            owned[key] = tensor

    def keep_buffers(self, n_networks):
        """Let the bank take over what training did to the buffers.

        Parameters
        ----------
        n_networks : int
            Length of the network axis.
        """
        # A body that tasks share is run by the bank itself, and keeps its own.
        if self.module.training and not self.heads_only and self.buffers:
            n_all = len(next(iter(self.buffers.values())))
            shape = n_networks, n_all // n_networks
            self.architecture.take_buffers(self.buffers, shape)


class InnerLoop:
    """The inner loop of the tasks of one meta-batch.

    Parameters
    ----------
    learner : GradientLearnerModule
        Settings and rates.
    module : EpisodicModule
        The bank.
    support : tuple of (inputs, targets, weights)
        Rows that the tasks learn from.
    query_inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs), optional
        Rows that they are asked about.

    Attributes
    ----------
    fast : dict of str to Tensor of shape (n_networks * n_tasks, ...)
        Leaves that the tasks start from.
    """

    def __init__(self, learner, module, support, query_inputs=None):
        self.learner = learner
        self.settings = learner.settings
        self.module = module
        self.shape = support[0].shape[:2]
        self.networks = TaskNetworks(module, self.settings.adapted, self.shape[1])
        self.rates = leaves(dict(learner.rates.items()), self.shape[1])
        self.cells = TaskCells(*support[1:])
        self.fast = self.networks.weights
        self._read = self.networks.read(support[0])
        self.inputs = self._leaf(self._read)
        if query_inputs is not None:
            self._read_query = self.networks.read(query_inputs)
            self.query_inputs = self._leaf(self._read_query)

    @staticmethod
    def _leaf(read):
        """Cut what is read off its graph, so that its gradient is each task's own."""
        return read.detach().requires_grad_() if read.requires_grad else read

    # -- steps -------------------------------------------------------------------

    def step(self, fast, create_graph):
        """Take one gradient step of every task.

        Parameters
        ----------
        fast : dict of str to Tensor
            Weights of the tasks' networks.
        create_graph : bool
            Whether the step is to be differentiated in full.

        Returns
        -------
        fast : dict of str to Tensor
            The weights after it.
        """
        names = self.learner.names
        outputs = self.networks.run(fast, self.inputs)
        gradients = torch.autograd.grad(
            self.cells.cells(self.module.losses, outputs),
            [fast[name] for name in names],
            self.cells.mean,
            create_graph=create_graph,
            materialize_grads=True,
        )
        steps = self._stretched(gradients, self._scale(gradients))
        moved = self._descended([fast[name] for name in names], steps)
        return fast | dict(zip(names, moved, strict=True))

    def _stretched(self, gradients, scale):
        """Multiply with the scale of each task and with learned rates, if any."""
        if scale is not None:
            gradients = [g * per_task(scale, g) for g in gradients]
        if self.rates:
            gradients = torch._foreach_mul(gradients, list(self.rates.values()))
        return gradients

    def _descended(self, tensors, steps):
        """Go down, by steps in units of the inner rate where it is not learned."""
        rate = 1.0 if self.rates else self.settings.inner_lr
        return torch._foreach_add(tensors, steps, alpha=-rate)

    @torch.no_grad()
    def _scale(self, gradients):
        """Scale gradients that are too long; a constant in the meta-gradient."""
        limit = self.settings.clip_norm
        if limit is None:
            return None
        norms = task_norms(gradients)
        if not (norms > limit).any():
            return None
        return (limit / norms).clamp(max=1.0)

    # -- the meta-gradient -------------------------------------------------------

    def gradients(self, asked, weights):
        """Differentiate the losses of the query through the inner steps.

        Parameters
        ----------
        asked : TaskCells
            Of the query.
        weights : list of float
            What the losses after each inner step count.

        Returns
        -------
        losses : list of Tensor of shape (n_networks * n_tasks, n_columns)
            Means by column after the steps that count, detached.
        gradients : list of Tensor of shape (n_networks * n_tasks, ...)
            By trained weights and rates, then by inputs that are learned.
        """
        fast, cells, means = self.fast, [], []
        for weight in weights:
            fast = self.step(fast, create_graph=not self.settings.first_order)
            if weight:
                outputs = self.networks.run(fast, self.query_inputs)
                cells.append(asked.cells(self.module.losses, outputs))
                means.append(weight * asked.mean)
        wanted = [self.fast[name] for name in self.networks.trained]
        wanted += [*self.rates.values(), *self._learned_inputs()]
        found = torch.autograd.grad(cells, wanted, means, materialize_grads=True)
        self.networks.keep_buffers(self.shape[0])
        return [asked.by_column(some.detach()) for some in cells], found

    def _learned_inputs(self):
        inputs = [self.inputs, getattr(self, "query_inputs", None)]
        return [some for some in inputs if some is not None and some.requires_grad]

    def collect(self, gradients, fine, share):
        """Add up the gradients of the tasks, each clipped, those not finite left out.

        Parameters
        ----------
        gradients : list of Tensor of shape (n_networks * n_tasks, ...)
            From :meth:`gradients`.
        fine : Tensor of shape (n_networks * n_tasks,), bool
            Whether the losses of a task are numbers.
        share : float
            What one task counts.
        """
        owners = [self.networks.starts[name] for name in self.networks.trained]
        owners += self.learner.rates.values()
        sizes = [gradient[0].numel() for gradient in gradients]
        flat, scale = self._cleaned(flattened(gradients), fine, share)
        sums = scale.view(self.shape).unsqueeze(1) @ flat.unflatten(0, self.shape)
        for owner, total in zip(owners, sums[:, 0].split(sizes, dim=1), strict=False):
            add_gradient(owner, total.view(owner.shape))
        inputs = self._learned_inputs()
        if inputs:
            parts = (flat * scale.unsqueeze(1)).split(sizes, dim=1)[len(owners) :]
            pairs = zip(parts, inputs, strict=True)
            self._backward_reading([part.view(some.shape) for part, some in pairs])

    def _cleaned(self, gradients, fine, share):
        norms = torch.linalg.vector_norm(gradients, dim=1)
        fine = fine & norms.isfinite()
        limit = self.settings.clip_norm
        if limit is None:
            scale = torch.full_like(norms, share)
        else:
            scale = share * limit / norms.clamp(min=limit)
        if not fine.all():
            scale = torch.where(fine, scale, 0.0)
            gradients = torch.where(fine.unsqueeze(1), gradients, 0.0)
        return gradients, scale

    def _backward_reading(self, gradients):
        """Go on to what computes the inputs: embeddings, and a body all tasks share."""
        read = [self._read, getattr(self, "_read_query", None)]
        read = [r for r in read if r is not None and r.requires_grad]
        if read:
            torch.autograd.backward(read, gradients)
