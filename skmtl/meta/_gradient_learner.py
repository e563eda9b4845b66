"""Learning tasks by gradient steps from a common start: MAML and its kin."""

import torch
from torch import nn

from .._net import Learner, LearnerModule
from ._cells import TaskCells, split_episodes
from ._expansion import (
    add_gradient,
    expanded,
    flattened,
    leaves,
    per_task,
    task_norms,
)

# MAML++ lets the losses after earlier steps fade over this share of the training,
# to this much of an equal share (section 4 of Antoniou et al. and their settings).
_FADES_OVER = 0.1
_FADES_TO = 0.03


class GradientLearner(Learner):
    """Hyperparameters of the inner loop; see :class:`skmtl.MAMLRegressor`."""

    def __init__(
        self,
        inner_lr,
        n_inner_steps,
        n_adapt_steps,
        first_order,
        adapted,
        learn_inner_lr,
        multi_step_loss,
        clip_norm,
    ):
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_adapt_steps = n_adapt_steps
        self.first_order = first_order
        self.adapted = adapted
        self.learn_inner_lr = learn_inner_lr
        self.multi_step_loss = multi_step_loss
        self.clip_norm = clip_norm

    def build(self, module, streams=None):
        """Make the inner loop.

        Parameters
        ----------
        module : EpisodicModule
            Its architecture names the parameters.
        streams : Streams, optional
            Unused.

        Returns
        -------
        learner : GradientLearnerModule
            With the learned rates, if any.
        """
        return GradientLearnerModule(self, module.architecture)


class GradientLearnerModule(LearnerModule):
    """The inner loop that :class:`GradientLearner` builds.

    Parameters
    ----------
    strategy : GradientLearner
        Hyperparameters.
    architecture : ArchitectureModule
        Names the parameters.

    Attributes
    ----------
    rates : ParameterDict of str to Parameter
        Learned inner rates by parameter; one a tensor, of shape (n_networks, 1, ...),
        or one a weight. Empty when they are not learned.
    """

    def __init__(self, strategy, architecture):
        super().__init__()
        self.settings = strategy
        self.n_passes = 1 + 2 * strategy.n_inner_steps
        heads = {id(p) for p in architecture.heads.parameters()}
        self.names = [
            name
            for name, p in architecture.named_parameters()
            if p.requires_grad
            and strategy.adapted in ("all", "head" if id(p) in heads else "body")
        ]
        self.rates = nn.ParameterDict()
        if strategy.learn_inner_lr:
            parameters = dict(architecture.named_parameters())
            for name in self.names:
                rates = torch.full_like(parameters[name], strategy.inner_lr)
                if strategy.learn_inner_lr == "tensor":
                    rates = rates[(slice(None), *[slice(1)] * (rates.ndim - 1))]
                self.rates[_key(name)] = nn.Parameter(rates.detach().clone())

    # -- training ----------------------------------------------------------------

    def backward(self, module, episodes, progress, share):
        """Add to the meta-gradient, every task's clipped by itself.

        Parameters
        ----------
        module : EpisodicModule
            In training.
        episodes : Episodes
            One meta-batch a network.
        progress : float
            Share of the training that is done.
        share : float
            What one episode counts in the step.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Of the query, detached; infinite for a task whose loss is no number.
        """
        support, query = split_episodes(episodes)
        loop = self._loop(module, support, query[0])
        asked = TaskCells(*query[1:])
        cells, weights = [], []
        for weight, fast in loop.course(self._step_weights(progress)):
            cells.append(asked.cells(module.losses, loop.outputs_of_query(fast)))
            weights.append(weight * asked.mean)
        means = [asked.by_column(found.detach()) for found in cells]
        fine = torch.cat(means, dim=1).isfinite().all(1)
        loop.collect(cells, weights, fine, share)
        return asked.named(means[-1])

    def _step_weights(self, progress):
        """Weigh the losses after 1, 2, ... inner steps; they sum to 1."""
        n_steps = self.settings.n_inner_steps
        if not self.settings.multi_step_loss or n_steps == 1:
            return [0.0] * (n_steps - 1) + [1.0]
        faded = min(1.0, progress / _FADES_OVER)
        early = (1 - faded * (1 - _FADES_TO)) / n_steps
        return [early] * (n_steps - 1) + [1 - early * (n_steps - 1)]

    def _loop(self, module, support, query_inputs=None):
        return InnerLoop(self, module, support, query_inputs)

    # -- validation and prediction -------------------------------------------------

    def validation_losses(self, module, episodes):
        """Compute query losses after as many steps as an adaptation takes.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        episodes : Episodes
            Of held-out entries.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Infinite for a task whose loss is no number.
        """
        support, query = split_episodes(episodes)
        state = self.adapt(module, *support)
        outputs = self.outputs(module, state, query[0])
        cells = TaskCells(*query[1:])
        found = cells.cells(module.losses, outputs.flatten(0, 1))
        return cells.named(cells.by_column(found))

    def adapt(self, module, inputs, targets, weights, n_steps=None):
        """Take gradient steps on the rows of tasks.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.
        targets, weights : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
            Weights are 0 for padding and missing labels.
        n_steps : int, optional
            Steps; by default those of the settings.

        Returns
        -------
        state : dict of str to Tensor of shape (n_networks, n_tasks, ...)
            The parameters that have moved.
        """
        if n_steps is None:
            n_steps = self.settings.n_adapt_steps
        with torch.enable_grad():
            loop = self._loop(module, (inputs, targets, weights))
            fast = loop.fast
            for _ in range(n_steps):
                fast = loop.step(fast, create_graph=False)
        shape = inputs.shape[:2]
        return {name: fast[name].detach().unflatten(0, shape) for name in self.names}

    def outputs(self, module, state, inputs):
        """Run the adapted networks.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        state : dict of str to Tensor of shape (n_networks, n_tasks, ...)
            From :meth:`adapt`.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_outputs)
            Of the heads.
        """
        moved = {name: tensor.flatten(0, 1) for name, tensor in state.items()}
        network = TaskNetworks(module, self.settings.adapted, inputs.shape[1])
        outputs = network.run(network.weights | moved, network.read(inputs))
        return outputs.unflatten(0, inputs.shape[:2])


def _key(name):
    """Turn the name of a parameter into one that a ParameterDict takes."""
    return name.replace(".", "/")


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
    weights : dict of str to Tensor of shape (n_networks * n_tasks, ...)
        Leaves, by the names they have in the architecture.
    """

    def __init__(self, module, adapted, n_tasks):
        self.module = module
        self.architecture = module.architecture
        self.heads_only = adapted == "head"
        part, prefix = self.architecture, ""
        if self.heads_only:
            part, prefix = self.architecture.heads, "heads"
        self.part = part
        self.starts, buffers, self._places = {}, {}, {}
        for path, owner in part.named_modules(prefix=prefix):
            for tensors, own in (
                (self.starts, owner._parameters),
                (buffers, owner._buffers),
            ):
                for key, tensor in own.items():
                    if tensor is not None:
                        name = f"{path}.{key}" if path else key
                        tensors[name] = tensor
                        self._places[name] = own, key
        self._own = self.starts | buffers
        self.weights = leaves(self.starts, n_tasks)
        self.buffers = expanded(buffers, n_tasks)

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
        try:
            self._put(weights | self.buffers)
            return self.part(inputs)
        finally:
            self._put(self._own)

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
    """

    def __init__(self, learner, module, support, query_inputs=None):
        self.learner = learner
        self.module = module
        self.shape = support[0].shape[:2]
        self.networks = TaskNetworks(module, learner.settings.adapted, self.shape[1])
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
        cells = self.cells.cells(self.module.losses, outputs)
        gradients = torch.autograd.grad(
            cells,
            [fast[name] for name in names],
            self.cells.mean,
            create_graph=create_graph,
            materialize_grads=True,
        )
        scale = self._scale(gradients)
        moved = dict(fast)
        for name, gradient in zip(names, gradients, strict=True):
            if scale is not None:
                gradient = gradient * per_task(scale, gradient)
            moved[name] = self._descended(name, fast[name], gradient)
        return moved

    def _descended(self, name, weight, gradient):
        rate = self.rates.get(_key(name))
        if rate is None:
            return torch.add(weight, gradient, alpha=-self.learner.settings.inner_lr)
        return torch.addcmul(weight, rate, gradient, value=-1)

    @torch.no_grad()
    def _scale(self, gradients):
        """Scale gradients that are too long; a constant in the meta-gradient."""
        limit = self.learner.settings.clip_norm
        if limit is None:
            return None
        norms = task_norms(gradients)
        if not (norms > limit).any():
            return None
        return (limit / norms).clamp(max=1.0)

    def course(self, weights):
        """Run the inner steps.

        Parameters
        ----------
        weights : list of float
            One a step.

        Yields
        ------
        weight : float
            Of the steps whose weight is not zero.
        fast : dict of str to Tensor
            The weights after the step.
        """
        fast = self.fast
        for weight in weights:
            fast = self.step(fast, create_graph=not self.learner.settings.first_order)
            if weight:
                yield weight, fast

    def outputs_of_query(self, fast):
        """Run the networks on the query.

        Parameters
        ----------
        fast : dict of str to Tensor
            Weights of the tasks' networks.

        Returns
        -------
        outputs : Tensor of shape (n_networks * n_tasks, n_rows, n_outputs)
            Of the heads.
        """
        return self.networks.run(fast, self.query_inputs)

    def collect(self, cells, weights, fine, share):
        """Add up the gradients of the tasks, each clipped, those not finite left out.

        Parameters
        ----------
        cells : list of Tensor of shape (n_networks * n_tasks, n_rows, n_columns)
            Losses of the query, after each inner step that counts.
        weights : list of Tensor of the same shapes
            What they count in the loss of their task.
        fine : Tensor of shape (n_networks * n_tasks,), bool
            Whether the losses of a task are numbers.
        share : float
            What one task counts.
        """
        read = [self.inputs, getattr(self, "query_inputs", None)]
        read = [r for r in read if r is not None and r.requires_grad]
        trained = [n for n, leaf in self.fast.items() if leaf.requires_grad]
        gradients = torch.autograd.grad(
            cells,
            [*(self.fast[n] for n in trained), *self.rates.values(), *read],
            weights,
            materialize_grads=True,
        )
        starts = self.networks.starts
        owners = [*(starts[n] for n in trained), *self.learner.rates.values()]
        flat, scale = self._cleaned(flattened(gradients), fine, share)
        sums = scale.view(self.shape).unsqueeze(1) @ flat.unflatten(0, self.shape)
        sizes = [gradient[0].numel() for gradient in gradients]
        for owner, total in zip(owners, sums[:, 0].split(sizes, dim=1), strict=False):
            add_gradient(owner, total.view(owner.shape))
        if read:
            kept = (flat * scale.unsqueeze(1)).split(sizes, dim=1)[len(owners) :]
            pairs = zip(kept, read, strict=True)
            self._backward_reading([part.view(r.shape) for part, r in pairs])
        self.networks.keep_buffers(self.shape[0])

    def _cleaned(self, gradients, fine, share):
        norms = torch.linalg.vector_norm(gradients, dim=1)
        fine = fine & norms.isfinite()
        limit = self.learner.settings.clip_norm
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
