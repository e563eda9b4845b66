"""Learning a start by moving it towards where tasks end: Reptile."""

import torch

from .._net import BankSGD, Learner
from ._cells import TaskCells
from ._expansion import add_gradient, per_task, task_norms
from ._gradient_learner import GradientLearnerModule
from ._inner_loop import InnerLoop

_BETA2 = 0.999
_EPS = 1e-8


class ReptileLearner(Learner):
    """Hyperparameters of the inner loop; see :class:`skmtl.ReptileRegressor`."""

    adapted = "all"
    learn_inner_lr = False
    multi_step_loss = False
    first_order = True

    def __init__(
        self,
        inner_lr,
        n_inner_steps,
        n_adapt_steps,
        inner_batch_size,
        inner_optimizer,
        clip_norm,
    ):
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_adapt_steps = n_adapt_steps
        self.inner_batch_size = inner_batch_size
        self.inner_optimizer = inner_optimizer
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
        learner : ReptileLearnerModule
            Without parameters of its own.
        """
        return ReptileLearnerModule(self, module.architecture)


class ReptileLearnerModule(GradientLearnerModule):
    """The inner loop that :class:`ReptileLearner` builds.

    Parameters
    ----------
    strategy : ReptileLearner
        Hyperparameters.
    architecture : ArchitectureModule
        Names the parameters.
    """

    optimizer_class = BankSGD

    def _loop(self, module, support, query_inputs=None):
        return ReptileLoop(self, module, support)

    def backward(self, module, episodes, progress, share):
        """Run the inner loop on all rows of each task, and point to where it ends.

        Parameters
        ----------
        module : EpisodicModule
            In training.
        episodes : Episodes
            One meta-batch a network; support and query are one set here.
        progress : float
            Unused.
        share : float
            What one episode counts in the step.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            After the inner steps, on the same rows; infinite for a task whose loss is
            no number.
        """
        loop = self._loop(module, episodes[:3])
        for k in range(self.settings.n_inner_steps):
            loop.pick(k)
            loop.fast = loop.step(loop.fast, create_graph=False)
        loop.pick(None)
        with torch.no_grad():
            outputs = loop.networks.run(loop.fast, loop.inputs)
            means = loop.cells.by_column(loop.cells.cells(module.losses, outputs))
        loop.collect_ends(means, share)
        return loop.cells.named(means)


class ReptileLoop(InnerLoop):
    """An inner loop that leaves no graph, with an optimizer of its own.

    Parameters
    ----------
    learner : ReptileLearnerModule
        Settings.
    module : EpisodicModule
        The bank.
    support : tuple of (inputs, targets, weights)
        Rows that the tasks learn from.
    """

    def __init__(self, learner, module, support):
        super().__init__(learner, module, support)
        self._all_inputs, self._all = self.inputs, support
        self._all_cells = self.cells
        self._slopes = None
        self._seconds = None
        self._n_steps = 0

    def pick(self, k):
        """Go to the next minibatch of every task.

        Parameters
        ----------
        k : int or None
            Number of the step; None picks all rows.
        """
        size = self.learner.settings.inner_batch_size
        n_rows = self._all_inputs.shape[1]
        if k is None or size is None or size >= n_rows:
            self._rows = None
            self.inputs, self.cells = self._all_inputs, self._all_cells
            return
        rows = (torch.arange(size) + k * size) % n_rows
        self._rows = rows.to(self._all_inputs.device)
        self.inputs = self._leaf(self._all_inputs[:, self._rows])
        _, targets, weights = self._all
        self.cells = TaskCells(targets[:, :, self._rows], weights[:, :, self._rows])

    def step(self, fast, create_graph=False):
        """Take one step of the inner optimizer.

        Parameters
        ----------
        fast : dict of str to Tensor
            Weights of the tasks' networks.
        create_graph : bool, default=False
            Unused: nothing is differentiated through the steps.

        Returns
        -------
        fast : dict of str to Tensor
            The weights after it.
        """
        names = self.learner.names
        outputs = self.networks.run(fast, self.inputs)
        cells = self.cells.cells(self.module.losses, outputs)
        reads = [self.inputs] if self.inputs.requires_grad else []
        gradients = torch.autograd.grad(
            cells,
            [*(fast[n] for n in names), *reads],
            self.cells.mean,
            materialize_grads=True,
        )
        self._add_slopes(gradients[len(names) :])
        ends = self._optimized([fast[n] for n in names], list(gradients[: len(names)]))
        ends = [end.requires_grad_() for end in ends]
        return {**fast, **dict(zip(names, ends, strict=True))}

    @torch.no_grad()
    def _optimized(self, starts, gradients):
        """Move weights by a step of the inner optimizer."""
        scale = self._scale(gradients)
        if scale is not None:
            gradients = [g * per_task(scale, g) for g in gradients]
        rate = self.learner.settings.inner_lr
        if self.learner.settings.inner_optimizer == "sgd":
            return torch._foreach_add(starts, gradients, alpha=-rate)
        # Adam with beta1 = 0, as the paper's experiments have it.
        if self._seconds is None:
            self._seconds = [torch.zeros_like(g) for g in gradients]
        self._n_steps += 1
        torch._foreach_mul_(self._seconds, _BETA2)
        torch._foreach_addcmul_(self._seconds, gradients, gradients, 1 - _BETA2)
        roots = torch._foreach_sqrt(self._seconds)
        torch._foreach_div_(roots, (1 - _BETA2**self._n_steps) ** 0.5)
        torch._foreach_add_(roots, _EPS)
        return torch._foreach_addcdiv(starts, gradients, roots, -rate)

    def _add_slopes(self, gradients):
        """Sum what the steps say about the inputs, for the embeddings behind them."""
        for gradient in gradients:
            if self._slopes is None:
                self._slopes = torch.zeros_like(self._all_inputs)
            if self._rows is None:
                self._slopes += gradient
            else:
                self._slopes.index_add_(1, self._rows, gradient)

    @torch.no_grad()
    def collect_ends(self, means, share):
        """Add up gradients that lead from the start to the mean of the ends.

        Parameters
        ----------
        means : Tensor of shape (n_networks * n_tasks, n_columns)
            Losses at the ends; a task where they are no numbers has not moved.
        share : float
            What one task counts.
        """
        names = self.learner.names
        start = dict(self.networks.architecture.named_parameters())
        ways = [self.networks.weights[n] - self.fast[n] for n in names]
        fine = means.isfinite().all(1) & task_norms(ways).isfinite()
        for name, way in zip(names, ways, strict=True):
            kept = share * torch.where(per_task(fine, way), way, 0.0)
            add_gradient(start[name], kept.unflatten(0, self.shape).sum(1))
        if self._slopes is not None:
            kept = torch.where(fine[:, None, None], self._slopes, 0.0)
            self._backward_reading([share * kept])
        self.networks.keep_buffers(self.shape[0])
