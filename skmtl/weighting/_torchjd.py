"""The weightings of another library."""

import copy

import numpy as np
import torch
from torch import nn

from .._constraints import HasMethods
from .._streams import seeded
from ._gramian import GramianModule, GramianWeighting


class TorchJD(GramianWeighting):
    """Use a weighting of TorchJD that reads the Gramian.

    Parameters
    ----------
    weighting : object
        Of ``torchjd.aggregation``, called with a Gramian; for example
        ``UPGradWeighting()``. Each network has a copy of its own.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    UPGrad : Many of these methods, for all networks at once and for gradients of any
        scale.

    Notes
    -----
    Needs ``pip install torchjd``. The Gramian is handed over in float64 and scaled to a
    mean squared norm of one, so that absolute constants of the library mean the same
    from the first step to the last. Absent tasks are left out. Networks are weighed one
    after the other. A method that draws random numbers draws them from the network's
    stream. What a method learns from batch to batch starts anew with every fit, with
    and without ``warm_start``, and is not pickled.

    References
    ----------
    .. [1] P. Quinton, V. Rey (2024). Jacobian Descent for Multi-Objective Optimization.
       https://arxiv.org/abs/2406.16232

    Examples
    --------
    >>> from torchjd.aggregation import MGDAWeighting
    >>> from skmtl.weighting import TorchJD
    >>> TorchJD(MGDAWeighting()).weighting.__class__.__name__
    'MGDAWeighting'
    """

    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "weighting": [HasMethods(["forward", "modules"])],
    }

    def __init__(self, weighting, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.weighting = weighting

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Seeds methods that draw random numbers.

        Returns
        -------
        module : WeightingModule
            Holds a copy of the weighting a network.
        """
        try:
            import torchjd  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "TorchJD(...) needs torchjd: pip install torchjd. The methods of "
                "skmtl.weighting itself need nothing."
            ) from error
        return TorchJDModule(self, shape, streams)


class TorchJDModule(GramianModule):
    """The module that :class:`TorchJD` builds.

    Parameters
    ----------
    choice : TorchJD
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Seeds methods that draw random numbers.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        self.copies = _Copies(choice.weighting, shape.n_networks)

    def solve(self, gramian, losses, present, networks):
        """Ask the copy of each network.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks are left out of the Gramian.
        networks : ndarray of shape (n,), int
            Whose copies are asked.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            As the copies give them; zero for absent tasks.
        """

        def draw(generator):
            return torch.randint(2**62, (1,), generator=generator)

        seeds = self.draw("torchjd", networks, draw)[:, 0].tolist()
        weights = np.zeros(present.shape)
        for i, (k, seed) in enumerate(zip(networks, seeds, strict=True)):
            here = np.flatnonzero(present[i])
            part = torch.from_numpy(gramian[i][np.ix_(here, here)])
            with seeded(seed), torch.no_grad():
                weights[i, here] = self.copies.of_network[k](part).numpy()
        return weights

    def reset(self):
        """Begin with fresh copies."""
        super().reset()
        self.copies.reset()


class _Copies(nn.Module):
    """One copy of a weighting a network, out of sight of what handles tensors."""

    def __init__(self, original, n_networks):
        super().__init__()
        # In lists, so that torch does not take them for parts of the module: their
        # tensors have no network axis.
        self._original = [copy.deepcopy(original)]
        self.of_network = [None] * n_networks
        self.reset()

    def reset(self):
        n_networks = len(self.of_network)
        self.of_network = [copy.deepcopy(self._original[0]) for _ in range(n_networks)]

    def take_networks(self, index):
        self.of_network = [self.of_network[int(k)] for k in index]
