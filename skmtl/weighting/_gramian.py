"""What the methods have in common that read inner products of gradients."""

import warnings
from numbers import Integral

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._constraints import Interval, StrOptions
from ._base import Weighting, WeightingModule

# Rounding of one operation, which torch.finfo takes its time to look up.
_ROUNDING = {t: torch.finfo(t).eps for t in (torch.float32, torch.float64)}


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
    rounding : float
        What the cosines of gradients may be wrong by, in the precision in which the
        Gramian came; eigenvalues of their matrix below it say nothing.
    """

    needs = "gramian"
    rounding = 0.0

    def __init__(self, choice, shape, streams=None):
        super().__init__()
        self.gradients = choice.gradients
        self.update_every = choice.update_every
        self.streams = streams
        size = shape.n_networks, shape.n_tasks
        self.register_buffer("held_", torch.ones(size, dtype=torch.float64))
        self._warned = False
        # Positions of the tasks that `solve` sees, and which of them each network has
        # in its batch; None for all.
        self._asked = self._seen = None

    def solve(self, gramian, losses, present, networks):
        """Weigh the tasks of some networks.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks), float64
            Scaled so that the squared norms of present tasks are 1 in the mean, which
            frees solvers of the scale of the losses. Zero for absent tasks, finite.
        losses : ndarray of shape (n, n_tasks)
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
        """Read a buffer for some networks, and for the tasks that are asked for.

        Parameters
        ----------
        name : str
            Of a buffer whose first axis is the network. Further axes as long as there
            are tasks are axes of tasks.
        networks : ndarray of shape (n,), int
            Positions in the bank.

        Returns
        -------
        values : ndarray of shape (n, ...)
            A copy.
        """
        values = getattr(self, name).cpu().numpy()
        if self._asked is None:
            return values[networks]
        return values[self._places(values, networks)]

    def write(self, name, networks, values):
        """Write what :meth:`read` reads; what belongs to absent tasks stays.

        What a network knows then does not depend on the tasks in the batches of others.

        Parameters
        ----------
        name : str
            Of a buffer.
        networks : ndarray of shape (n,), int
            Positions in the bank.
        values : ndarray of shape (n, ...)
            What to write.
        """
        buffer = getattr(self, name)
        if self._asked is None and len(networks) == len(buffer):
            buffer.copy_(torch.from_numpy(values))
            return
        whole = buffer.cpu().numpy().copy()
        if self._asked is None:
            whole[networks] = values
        else:
            places = self._places(whole, networks)
            seen = self._seen[networks]
            if values.ndim == 3:
                seen = seen[:, :, None] & seen[:, None]
            whole[places] = np.where(seen, values, whole[places])
        buffer.copy_(torch.from_numpy(whole))

    def _places(self, values, networks):
        axes = [networks]
        for length in values.shape[1:]:
            by_task = length == self.held_.shape[1]
            axes.append(self._asked if by_task else np.arange(length))
        return np.ix_(*axes)

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
                "Gradients that are almost parallel do that; dtype='float64' or a "
                "smaller lr may help.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def reset(self):
        """Forget the held weights."""
        self.held_.fill_(1.0)
        self._warned = False

    @np.errstate(over="ignore", invalid="ignore")
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
        # Measured on gradients that are linearly dependent: below (10 + 0.6 n_tasks).
        rounding = (16 + known.shape[1]) * _ROUNDING[gramian.dtype]
        if rounding != self.rounding:  # torch looks at whatever a module is given
            self.rounding = rounding
        here = present.cpu().numpy()
        losses_here = losses.cpu().numpy()
        if here.all():
            weights = self._solved(known, losses_here, here)
            return torch.from_numpy(weights).to(losses)
        # Of a few hundred row tasks few are in a batch, and solvers are cubic.
        weights = np.zeros(here.shape)
        self._asked = asked = np.flatnonzero(here.any(0))
        self._seen = here[:, asked]
        try:
            weights[:, asked] = self._solved(
                known[:, asked[:, None], asked], losses_here[:, asked], self._seen
            )
        finally:
            self._asked = self._seen = None
        return torch.from_numpy(weights * here).to(losses)

    def _solved(self, gramian, losses, present):
        """Solve where there is something to solve; the rest is ones, NaN or held."""
        rests = self._rests()
        # A trace that is finite bounds all inner products.
        trace = gramian.trace(axis1=1, axis2=2)
        every = np.arange(len(gramian))
        n_present = gramian.shape[1]
        if self._asked is not None:
            n_present = np.maximum(present.sum(1), 1)
        size = trace / n_present
        if (
            rests is None
            and self.due is None
            and 0 < trace.min() <= trace.max() < np.inf
        ):
            scaled = gramian / size[:, None, None]
            weights = self.solve(scaled, losses, present, every)
        else:
            solvable = (trace > 0) & (trace < np.inf)
            due = np.ones(len(gramian), bool) if rests is None else ~rests
            if self.due is not None:
                due &= self.due
            weights = np.where(due[:, None], 1.0, self.read("held_", every))
            weights[due & ~np.isfinite(trace)] = np.nan
            asked = np.flatnonzero(due & solvable)
            if len(asked):
                scaled = gramian[asked] / size[asked, None, None]
                weights[asked] = self.solve(
                    scaled, losses[asked], present[asked], asked
                )
        if self.update_every > 1:
            self.write("held_", every, weights)
        return weights

    def _rests(self):
        """Say which networks have no rows in this step; None when all have."""
        n_rows = None if self.streams is None else self.streams.n_rows
        return None if not n_rows or all(n_rows) else np.array(n_rows) == 0
