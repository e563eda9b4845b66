"""Classifiers that tell classes apart by distances, and so take new ones."""

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._tasks import check_rows
from ..loss import resolve
from ._prediction import places_of
from ._scores import MetaClassifier


class LearnsClasses(ClassNamePrefixFeaturesOutMixin, TransformerMixin, MetaClassifier):
    """Place rows in a learned space; the classes of a task are those of its rows."""

    _least_support = 1
    _is_novel = True
    _n_slots = None

    def _check_columns(self, data):
        if data.row_tasks and len(data.column_names) > 1:
            raise ValueError(
                f"{type(self).__name__} tells the classes of one column apart, and y "
                f"has {len(data.column_names)}: {data.column_names[:10]}. Pass one "
                "column, or leave the row tasks out, so that each column is a task."
            )

    def _losses(self, data):
        # Cross entropy over classes, or a loss over pairs: the learner has its own.
        return tuple(resolve("log_loss", data.column_names, data.kinds))

    def _slots(self, data, settings):
        # The heads of the architecture are not used.
        return [2]

    @property
    def _n_features_out(self):
        """Columns that ``transform`` gives, int."""
        module = self.net_.module_
        n_networks = len(next(module.architecture.parameters()))
        return n_networks * module.learner.n_dimensions

    def _places(self, X):
        """Place rows: ndarray of shape (n_networks, n_samples, n_dimensions)."""
        check_is_fitted(self, "net_")
        table, _ = check_rows(self, X)
        return places_of(self.net_, table)

    def transform(self, X):
        """Place rows in the learned space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table; with a task column, its ids are not read.

        Returns
        -------
        places : ndarray of shape (n_samples, n_dimensions), float64
            Of all members side by side: ``n_components``, or the features of the
            architecture, times the number of members.
        """
        return np.concatenate(list(self._places(X)), axis=1)
