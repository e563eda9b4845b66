"""How far the gradients of tasks agree, over an epoch."""

import numpy as np

# Numbers that wait to be summed, at most; a batch costs next to nothing that way.
_WAITING = 2**20


class Conflict:
    """Sum the cosines between the gradients of tasks.

    On the CPU, where the solvers of weightings look at the same numbers.
    """

    def __init__(self):
        self._clear()

    def _clear(self):
        self._waiting = []
        self._sum = self._count = 0.0

    def add(self, gramian):
        """Note the inner products of one batch.

        Parameters
        ----------
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Inner products of gradients. Pairs with a gradient of zero, or one that is
            not finite, have no cosine and are not counted.
        """
        self._waiting.append(gramian.cpu().numpy())
        if len(self._waiting) * gramian.numel() >= _WAITING:
            self._add_up()

    def _add_up(self):
        gramian = np.stack(self._waiting).astype(float)
        self._waiting = []
        square = gramian.diagonal(axis1=2, axis2=3)
        norm = np.sqrt(np.where((square > 0) & (square < np.inf), square, np.nan))
        cosine = gramian / (norm[..., None] * norm[..., None, :])
        counted = np.isfinite(cosine)
        self._sum = self._sum + np.where(counted, cosine, 0.0).sum(0)
        self._count = self._count + counted.sum(0)

    def take(self, networks):
        """Give the mean over some networks, and begin anew.

        Parameters
        ----------
        networks : ndarray of bool, shape (n_networks,)
            Networks that count.

        Returns
        -------
        cosine : ndarray of shape (n_tasks, n_tasks) or None
            Mean over batches and networks; NaN where two tasks never met. None where
            no gradients were seen.
        """
        if self._waiting:
            self._add_up()
        if not np.ndim(self._sum):
            return None
        total = self._sum[networks].sum(0)
        count = self._count[networks].sum(0)
        self._clear()
        empty = np.full(total.shape, np.nan)
        return np.divide(total, count, out=empty, where=count > 0)
