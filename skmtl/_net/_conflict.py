"""How far the gradients of tasks agree, over an epoch."""

import numpy as np


class Conflict:
    """Sum the cosines between the gradients of tasks.

    Sums are kept on the CPU, where the solvers of weightings look at the same numbers.
    """

    def __init__(self):
        self._clear()

    def _clear(self):
        self._sum = None
        self._count = None

    def add(self, gramian):
        """Note the cosines of one batch.

        Parameters
        ----------
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Inner products of gradients. Pairs with a gradient of zero, or one that is
            not finite, have no cosine and are not counted.
        """
        gramian = gramian.cpu().numpy()
        norm = np.sqrt(np.diagonal(gramian, axis1=1, axis2=2))
        size = norm[:, :, None] * norm[:, None]
        counted = (size > 0) & np.isfinite(size)
        cosine = np.divide(
            gramian, size, out=np.zeros(size.shape), where=counted, casting="unsafe"
        )
        if self._sum is None:
            self._sum, self._count = cosine, counted.astype(float)
        else:
            self._sum += cosine
            self._count += counted

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
        if self._sum is None:
            return None
        total = self._sum[networks].sum(0)
        count = self._count[networks].sum(0)
        self._clear()
        empty = np.full(total.shape, np.nan)
        return np.divide(total, count, out=empty, where=count > 0)
