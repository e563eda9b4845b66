"""Linear algebra of small matrices, on one thread.

NumPy is quickest for the smallest, where a call costs more than the work. From some
size on its BLAS takes all cores, which wait for each other longer than they work, and
for those of other processes longer still; torch keeps to the threads of the fit.
"""

import numpy as np
import torch

# Tasks from which on BLAS may take threads of its own.
_LARGE = 16


def solve(matrices, right):
    """Solve linear systems.

    Parameters
    ----------
    matrices : ndarray of shape (..., n, n)
        Of full rank.
    right : ndarray of shape (..., n, m)
        Right-hand sides.

    Returns
    -------
    solutions : ndarray of shape (..., n, m)
        Of all systems.
    """
    if matrices.shape[-1] < _LARGE:
        return np.linalg.solve(matrices, right)
    found = torch.linalg.solve(torch.from_numpy(matrices), torch.from_numpy(right))
    return found.numpy()


def eigh(matrices):
    """Decompose symmetric matrices.

    Parameters
    ----------
    matrices : ndarray of shape (..., n, n)
        Symmetric.

    Returns
    -------
    values : ndarray of shape (..., n)
        Eigenvalues, ascending.
    vectors : ndarray of shape (..., n, n)
        Eigenvectors, in columns.
    """
    if matrices.shape[-1] < _LARGE:
        return np.linalg.eigh(matrices)
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrices))
    return values.numpy(), vectors.numpy()
