"""Ridge regressions of all strengths at the price of one."""

import numpy as np

# Strengths to try, over the number of rows; who compares takes the best of each side.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def ridge_predictions(inputs, targets, new, strengths):
    """Predict new rows by ridge regressions without an intercept.

    Parameters
    ----------
    inputs : ndarray of shape (n_rows, n_inputs)
        Of the training rows; centred by the caller.
    targets : ndarray of shape (n_rows, n_targets)
        Likewise.
    new : ndarray of shape (n_new, n_inputs)
        Rows to predict.
    strengths : sequence of float
        Over the number of rows.

    Returns
    -------
    predictions : ndarray of shape (n_strengths, n_new, n_targets)
        For every strength.
    """
    n_rows, n_inputs = inputs.shape
    wide = n_inputs > n_rows
    values, vectors = np.linalg.eigh(inputs @ inputs.T if wide else inputs.T @ inputs)
    if wide:
        basis, weights = new @ inputs.T @ vectors, vectors.T @ targets
    else:
        basis, weights = new @ vectors, vectors.T @ (inputs.T @ targets)
    values = values.clip(0)[:, None]
    return np.stack([basis @ (weights / (values + s * n_rows)) for s in strengths])
