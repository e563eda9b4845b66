"""What the methods have in common that read inner products of gradients."""

import warnings
from numbers import Integral

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._constraints import Interval, StrOptions
from ._base import Weighting, WeightingModule


class GramianWeighting(Weighting):
    """Base class of the choices that read the Gramian of the tasks' gradients.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared. "features": at the shared representation, nearly
        free. "parameters": at the shared parameters; exact, one backward pass a task.
        Row tasks need "parameters": each row has one task there, so gradients at the
        features never meet.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.
    """

    _parameter_constraints = {
        "gradients": [StrOptions({"features", "parameters"})],
        "update_every": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, gradients="features", update_every=1):
        self.gradients = gradients
        self.update_every = update_every


class GramianModule(WeightingModule):
    """Base class of the modules that compute weights from a Gramian.

    A subclass writes :meth:`solve`. It runs in NumPy and float64 on the CPU, whatever
    the device of the networks: Gramians are small, and a solver of a dozen small steps
    costs less there than launching as many kernels.

    Parameters
    ----------
    choice : GramianWeighting
        Where gradients are compared, and how often.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        For methods that draw random numbers.

    Attributes
    ----------
    held_ : Tensor of shape (n_networks, n_tasks)
        The weights of the last computation.
    """

    needs = "gramian"

    def __init__(self, choice, shape, streams=None):
        super().__init__()
        self.gradients = choice.gradients
        self.update_every = choice.update_every
        self.streams = streams
        size = shape.n_networks, shape.n_tasks
        self.register_buffer("held_", torch.ones(size, dtype=torch.float64))
        self._warned = False

    def solve(self, gramian, losses, present, networks):
        """Weigh the tasks of some networks.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks), float64
            Scaled so that the squared norms of present tasks are 1 in the mean, which
            frees solvers of the scale of the losses. Zero for absent tasks, finite.
        losses : ndarray of shape (n, n_tasks), float64
            Losses of the batch.
        present : ndarray of shape (n, n_tasks), bool
            Whether the task has labels in the batch; one of them at least has, and its
            gradient is not zero.
        networks : ndarray of shape (n,), int
            Positions of these networks in the bank, by which :meth:`read`,
            :meth:`write` and :meth:`draw` find what belongs to them.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            Of any scale. Those of absent tasks are not read.
        """
        raise NotImplementedError("abstract method")

    def read(self, name, networks):
        """Read a buffer for some networks.

        Parameters
        ----------
        name : str
            Of a buffer whose first axis is the network.
        networks : ndarray of shape (n,), int
            Positions in the bank.

        Returns
        -------
        values : ndarray of shape (n, ...)
            A copy.
        """
        return getattr(self, name).cpu().numpy()[networks]

    def write(self, name, networks, values):
        """Write a buffer for some networks.

        Parameters
        ----------
        name : str
            Of a buffer whose first axis is the network.
        networks : ndarray of shape (n,), int
            Positions in the bank.
        values : ndarray of shape (n, ...)
            What to write.
        """
        buffer = getattr(self, name)
        if len(networks) == len(buffer):
            buffer.copy_(torch.from_numpy(values))
        else:
            index = torch.from_numpy(networks).to(buffer.device)
            buffer[index] = torch.from_numpy(values).to(buffer)

    def draw(self, purpose, networks, make):
        """Draw random numbers for some networks, each from its own stream.

        Parameters
        ----------
        purpose : str
            Names the numbers.
        networks : ndarray of shape (n,), int
            Positions in the bank.
        make : callable
            From a torch.Generator to a Tensor.

        Returns
        -------
        drawn : ndarray of shape (n, ...)
            Networks with the same key get the same numbers.
        """
        drawn = {}
        for k in networks:
            key = self.streams.keys[k]
            if key not in drawn:
                drawn[key] = make(self.streams.generator(key, purpose)).numpy()
        return np.stack([drawn[self.streams.keys[k]] for k in networks])

    def check_converged(self, converged):
        """Warn once a fit when a solver gave up.

        Parameters
        ----------
        converged : ndarray of bool
            By network.
        """
        if not self._warned and not np.all(converged):
            self._warned = True
            warnings.warn(
                f"{self.name} did not converge on a batch; its last iterate is used. "
                "Gradients that are almost parallel do that; a smaller lr, or "
                f"float64 with {self.name}, may help.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def reset(self):
        """Forget the held weights."""
        self.held_.fill_(1.0)
        self._warned = False

    def weights(self, losses, gramian, present):
        """Weigh the tasks of one batch, or give the held weights.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks) or None
            Inner products of gradients; None when no network is due.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            All ones where every gradient is zero, NaN where one is not finite.
        """
        if gramian is None:
            return torch.where(present, self.held_.to(losses), 0.0)
        known = gramian.cpu().numpy().astype(np.float64)
        here = present.cpu().numpy()
        rests = self._rests()
        # A trace that is finite bounds all inner products.
        trace = known.diagonal(axis1=1, axis2=2).sum(1)
        asks = (trace > 0) & (trace < np.inf)
        if rests is None and self.due is None and asks.all():
            every = np.arange(len(known))
            weights = self._solved(known, losses, here, trace, every)
        else:
            due = np.ones(len(known), bool) if rests is None else ~rests
            if self.due is not None:
                due &= self.due
            weights = np.where(due[:, None], 1.0, self.held_.cpu().numpy())
            weights[~np.isfinite(trace)] = np.nan
            asked = np.flatnonzero(due & asks)
            if len(asked):
                weights[asked] = self._solved(
                    known[asked], losses, here[asked], trace[asked], asked
                )
        if self.update_every > 1:
            self.write("held_", np.arange(len(weights)), weights)
        return torch.from_numpy(weights * here).to(losses)

    def _rests(self):
        """Say which networks have no rows in this step; None when all have."""
        n_rows = None if self.streams is None else self.streams.n_rows
        return None if not n_rows or all(n_rows) else np.array(n_rows) == 0

    def _solved(self, gramian, losses, present, trace, networks):
        size = trace / present.sum(1)
        losses = losses.cpu().numpy().astype(np.float64)[networks]
        return self.solve(gramian / size[:, None, None], losses, present, networks)
