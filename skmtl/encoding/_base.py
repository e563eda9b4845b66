"""What every encoding answers."""

from .._strategy import Strategy


class Encoding(Strategy):
    """Base class of the choices for ``encoding=``.

    A subclass implements ``fit``, which looks at a table and returns the
    :class:`EncodedColumns` that describe the inputs of a network.

    Attributes
    ----------
    looks_at_rows : bool
        Whether the columns depend on the rows given; if not, all folds share them.
    allows_missing : bool
        Whether X may have missing values.
    keeps_shape : bool
        Whether X may have more than two dimensions.
    """

    looks_at_rows = True
    allows_missing = True
    keeps_shape = False

    def fit(self, X, sample_weight):
        """Choose the encoded columns from training rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row; integer weights count as repeated rows.

        Returns
        -------
        columns : EncodedColumns
            The inputs of the networks trained on these rows.
        """
        raise NotImplementedError("abstract method")
