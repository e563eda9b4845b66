"""The direction in which all tasks gain alike."""

import numpy as np

from ._gramian import GramianModule, GramianWeighting
from ._linalg import eigh


class ImpartialGrad(GramianWeighting):
    r"""IMTL-G: a direction with equal projections on all gradients.

    The weights solve :math:`G w = n` with the norms n of the gradients, so that
    :math:`d^T g_t / \|g_t\|` is the same for all tasks.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    NashMTL : Equal gains in another sense, with positive weights.
    AlignedMTL : Makes the gradients orthogonal and alike.
    GradNorm : Learns weights towards norms that are alike.

    Notes
    -----
    Weights can be negative. Where gradients are linearly dependent the shortest
    solution is taken, by the pseudo-inverse. Their sum is scaled to the number of
    tasks, as in the paper, where it is positive; a sum that is not would turn the
    direction against all tasks, and is made positive. The other half of the paper,
    IMTL-L, is the same as :class:`Uncertainty`.

    References
    ----------
    .. [1] L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang
       (2021). Towards Impartial Multi-task Learning. ICLR, section 3.1.
       https://openreview.net/forum?id=IMPnRXEWpvr

    Examples
    --------
    >>> from skmtl.weighting import ImpartialGrad
    >>> ImpartialGrad()
    ImpartialGrad()
    """

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
        return ImpartialGradModule(self, shape, streams)


class ImpartialGradModule(GramianModule):
    """The module that :class:`ImpartialGrad` builds."""

    def solve(self, gramian, losses, present, networks):
        """Solve for equal projections.

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
            Of absolute sum one at most where their sum is small, of sum one else.
        """
        square = gramian.diagonal(axis1=1, axis2=2)
        some = square > 0
        norm = np.sqrt(np.where(some, square, 1.0))
        # Cosines have one scale, whatever the norms; zero gradients stay out.
        cosines = gramian / (norm[:, :, None] * norm[:, None])
        least = max(1e-10, self.rounding)
        values, vectors = eigh(cosines)
        kept = values > least * values[:, -1:]
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=kept)
        along = (vectors.swapaxes(1, 2) @ some[..., None].astype(float))[..., 0]
        weights = (vectors @ (inverse * along)[..., None])[..., 0] * some / norm
        total = np.abs(weights.sum(1, keepdims=True))
        size = np.maximum(total, 1e-6 * np.abs(weights).sum(1, keepdims=True))
        empty = np.where(some, 1.0, 0.0)
        return np.divide(weights, size, out=empty, where=size > 0)
