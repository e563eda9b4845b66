"""The inner loop of networks whose derivatives are written out."""

from functools import partial
from typing import NamedTuple

import torch

from ._chain import ChainPasses
from ._expansion import per_task
from ._inner_loop import InnerLoop
from ._slopes import slope_of


class ChainStep(NamedTuple):
    """What the way back needs of an inner step.

    Parameters
    ----------
    passes : ChainPasses
        Over the support, before the step.
    gradients : list of Tensor of shape (n_networks * n_tasks, ...)
        Of the weights that move.
    scale : Tensor of shape (n_networks * n_tasks,) or None
        Of gradients that were too long.
    slopes : list of Tensor or None
        Derivatives of the loss of the query by the weights after the step; None where
        it does not count.
    """

    passes: ChainPasses
    gradients: list
    scale: torch.Tensor | None
    slopes: list | None = None


class ChainLoop(InnerLoop):
    """An inner loop through banks with a relu between each two, without a graph.

    Autograd differentiates a gradient by many small operations, a third of them of no
    use here. Where what the networks read is learned, it is used all the same.

    Parameters
    ----------
    *args : tuple
        Those of :class:`InnerLoop`.

    Attributes
    ----------
    order : list of str
        Names of the weight and the bias of each bank, in turn.
    moved : list of int
        Where the weights that the tasks adapt stand in this order.
    """

    def __init__(self, *args):
        super().__init__(*args)
        names = {id(start): name for name, start in self.networks.starts.items()}
        banks = self.networks.part.chain()
        self.order = [names[id(t)] for b in banks for t in (b.weight, b.bias)]
        self.moved = [self.order.index(name) for name in self.learner.names]

    # -- steps -------------------------------------------------------------------

    def step(self, fast, create_graph):
        """Take one gradient step of every task.

        Parameters
        ----------
        fast : dict of str to Tensor
            Weights of the tasks' networks.
        create_graph : bool
            Whether the step is to be differentiated by autograd.

        Returns
        -------
        fast : dict of str to Tensor
            The weights after it.
        """
        if create_graph or self.inputs.requires_grad:
            return super().step(fast, create_graph)
        tensors = [fast[name] for name in self.order]
        moved, _ = self._forwards(tensors, twice=False)
        return dict(zip(self.order, moved, strict=True))

    @torch.no_grad()
    def _forwards(self, tensors, twice):
        """Take a step, and keep what the way back needs."""
        passes = self._passes(tensors, self.inputs, self.cells, self.cells.mean, twice)
        found = passes.gradients()
        gradients = [found[i] for i in self.moved]
        scale = self._scale(gradients)
        steps = self._stretched(gradients, scale)
        ends = self._descended([tensors[i] for i in self.moved], steps)
        tensors = list(tensors)
        for i, end in zip(self.moved, ends, strict=True):
            tensors[i] = end
        return tensors, ChainStep(passes, gradients, scale)

    def _passes(self, tensors, inputs, targets, mean, twice):
        losses = self.module.losses
        slope = partial(slope_of, losses, targets, mean, twice=twice)
        return ChainPasses(slope, inputs, tensors)

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
            By trained weights and rates.
        """
        if self.inputs.requires_grad:
            return super().gradients(asked, weights)
        tensors, steps, losses = [self.fast[name] for name in self.order], [], []
        for weight in weights:
            tensors, step = self._forwards(tensors, not self.settings.first_order)
            if weight:
                means, slopes = self._ask(tensors, asked, weight)
                losses.append(means)
                step = step._replace(slopes=slopes)
            steps.append(step)
        return losses, self._backwards(steps)

    @torch.no_grad()
    def _ask(self, tensors, asked, weight):
        mean = asked.mean if weight == 1 else weight * asked.mean
        passes = self._passes(tensors, self.query_inputs, asked, mean, twice=False)
        cells = asked.cells(self.module.losses, passes.outputs)
        return asked.by_column(cells), passes.gradients()

    @torch.no_grad()
    def _backwards(self, steps):
        """Take the slopes of the query back through the steps."""
        slopes = steps[-1].slopes
        rates = [torch.zeros_like(rate) for rate in self.rates.values()]
        for step in reversed(steps):
            if step.slopes is not None and step is not steps[-1]:
                slopes = torch._foreach_add(slopes, step.slopes)
            if rates:
                self._add_rate_slopes(rates, step, slopes)
            if not self.settings.first_order:
                slopes = self._descended(slopes, self._curve(step, slopes))
        found = dict(zip(self.order, slopes, strict=True))
        return [*(found[name] for name in self.networks.trained), *rates]

    def _curve(self, step, slopes):
        """Say how the gradients of a step move the loss, in units of the inner rate."""
        steps = self._stretched([slopes[i] for i in self.moved], step.scale)
        if len(steps) == len(slopes):
            return step.passes.curve(steps)
        directions = [torch.zeros_like(slope) for slope in slopes]
        for i, own in zip(self.moved, steps, strict=True):
            directions[i] = own
        return step.passes.curve(directions)

    def _add_rate_slopes(self, rates, step, slopes):
        for rate, gradient, i in zip(rates, step.gradients, self.moved, strict=True):
            slope = gradient * slopes[i]
            if step.scale is not None:
                slope = slope * per_task(step.scale, slope)
            rate -= slope.sum_to_size(rate.shape)
