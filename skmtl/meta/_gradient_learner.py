"""Learning tasks by gradient steps from a common start: MAML and its kin."""

import torch
from torch import nn

from .._net import Learner, LearnerModule
from ._cells import TaskCells, split_episodes
from ._chain_loop import ChainLoop
from ._inner_loop import InnerLoop, TaskNetworks

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
        losses, gradients = loop.gradients(asked, self._step_weights(progress))
        fine = torch.cat(losses, dim=1).isfinite().all(1)
        loop.collect(gradients, fine, share)
        return asked.named(losses[-1])

    def _step_weights(self, progress):
        """Weigh the losses after 1, 2, ... inner steps; they sum to 1."""
        n_steps = self.settings.n_inner_steps
        if not self.settings.multi_step_loss or n_steps == 1:
            return [0.0] * (n_steps - 1) + [1.0]
        faded = min(1.0, progress / _FADES_OVER)
        early = (1 - faded * (1 - _FADES_TO)) / n_steps
        return [early] * (n_steps - 1) + [1 - early * (n_steps - 1)]

    def _loop(self, module, support, query_inputs=None):
        # Heads alone read features that are learned: a task for autograd.
        whole = self.settings.adapted != "head"
        written_out = whole and module.architecture.chain() is not None
        kind = ChainLoop if written_out else InnerLoop
        return kind(self, module, support, query_inputs)

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
