"""Gradients made orthogonal and alike."""

import numpy as np

from .._constraints import StrOptions
from ._gramian import GramianModule, GramianWeighting
from ._linalg import eigh


class AlignedMTL(GramianWeighting):
    r"""Align the principal components of the gradients.

    The gradients are replaced by the nearest orthogonal ones of one length, and summed:
    with the eigenvectors V and eigenvalues :math:`\Lambda` of the Gramian, the weights
    are :math:`\sigma V \Lambda^{-1/2} V^T 1`.

    Parameters
    ----------
    scale : {"min", "median", "rmse"}, default="min"
        The common length :math:`\sigma`: the least singular value of the gradients,
        which the paper proves convergence for, their median, or the root of the mean
        of their squares. Weights are scaled to the number of tasks, so that it matters
        only where their sum is not positive.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    ImpartialGrad : Equal projections.

    Notes
    -----
    Eigenvalues that are no larger than what rounding makes of gradients of that size
    are left out, so that tasks that repeat each other do not decide the direction.
    Weights can be negative.

    References
    ----------
    .. [1] D. Senushkin, N. Patakin, A. Kuznetsov, A. Konushin (2023). Independent
       Component Alignment for Multi-Task Learning. CVPR, algorithm 1.
       https://arxiv.org/abs/2305.19000

    Examples
    --------
    >>> from skmtl.weighting import AlignedMTL
    >>> AlignedMTL(scale="rmse")
    AlignedMTL(scale='rmse')
    """

    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "scale": [StrOptions({"min", "median", "rmse"})],
    }

    def __init__(self, scale="min", *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.scale = scale

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WeightingModule
            Without parameters.
        """
        return AlignedMTLModule(self, shape, streams)


class AlignedMTLModule(GramianModule):
    """The module that :class:`AlignedMTL` builds.

    Parameters
    ----------
    choice : AlignedMTL
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        self.scale = choice.scale

    def solve(self, gramian, losses, present, networks):
        """Whiten the Gramian.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks take no part.
        networks : ndarray of shape (n,), int
            Not needed.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            Of the sum of the aligned gradients.
        """
        values, vectors = eigh(gramian)
        # Inner products are wrong in proportion to the norms, so that an eigenvector
        # among small gradients has a small error.
        square = gramian.diagonal(axis1=1, axis2=2)
        spread = (square[:, None] @ vectors**2)[:, 0]
        error = max(1e-10, self.rounding) * spread
        counted = values > np.maximum(error, 1e-14 * values[:, -1:])
        inverse = 1 / np.sqrt(np.where(counted, values, np.inf))
        ones = present[..., None].astype(float)
        rotated = (vectors.swapaxes(1, 2) @ ones)[..., 0]
        weights = (vectors @ (inverse * rotated)[..., None])[..., 0]
        rank = counted.sum(1)
        # Eigenvalues ascend, and those that do not count come first.
        if self.scale == "min":
            square = values[np.arange(len(values)), values.shape[1] - rank]
        elif self.scale == "median":
            middle = values.shape[1] - rank + (rank - 1) // 2
            square = values[np.arange(len(values)), middle]
        else:
            square = np.where(counted, values, 0.0).sum(1) / rank
        return weights * np.sqrt(square)[:, None]
