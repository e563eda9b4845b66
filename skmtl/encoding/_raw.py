"""No encoding."""

import numpy as np

from .._encoder_bank import EncodedColumns
from ._base import Encoding


class Raw(Encoding):
    """Hand the table to the networks as it is.

    Nothing is scaled, left out or added, and rows may have any shape, such as that of
    an image. Missing values are refused.

    See Also
    --------
    Standard : Scaling, and an input for each column with missing values.
    skmtl.architecture.TorchModule : The architecture whose default this is.

    Notes
    -----
    ``MultiTaskNetRegressor(TorchModule(...), encoding=None)`` and the classifier use
    it. Other architectures take it for tables of two dimensions that are scaled
    already.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.encoding import Raw
    >>> Raw().fit(np.ones((5, 3)), np.ones(5)).n_inputs
    3
    """

    looks_at_rows = False
    allows_missing = False
    keeps_shape = True

    def fit(self, X, sample_weight, categories=None):
        """Count the columns.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows; rows of more dimensions come flattened.
        sample_weight : ndarray of shape (n_samples,)
            Unused.
        categories : sequence of (int or None), length n_features, optional
            Categories of each column, which are refused.

        Returns
        -------
        columns : EncodedColumns
            One input a column, the column itself.

        Raises
        ------
        ValueError
            If a column holds categories.
        """
        named = [j for j, n in enumerate(categories or ()) if n is not None]
        if named:
            raise ValueError(
                f"encoding=Raw() hands X over as it is, and the column at position "
                f"{named[0]} holds categories. Encode them before, or pass "
                "encoding=Standard()."
            )
        source = np.arange(X.shape[1])
        zero = np.zeros(len(source))
        infinite = zero + np.inf
        return EncodedColumns(
            source, zero, zero + 1, -infinite, infinite, zero + np.nan
        )
