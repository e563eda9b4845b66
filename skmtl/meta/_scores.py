"""What regressors and classifiers among the meta-learners answer."""

from sklearn.base import ClassifierMixin, RegressorMixin

from ..metrics import get_scorer
from ._base import BaseMetaNet


class MetaRegressor(RegressorMixin, BaseMetaNet):
    """Tasks whose labels are numbers."""

    _kind = "number"
    _decode = "numbers"
    loss = "squared_error"

    def score(self, X, y, *, task=None, sample_weight=None):
        """Compute R2 over all rows, or the mean over the columns of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            True labels; missing ones do not count.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_columns), \
                optional
            Weights.

        Returns
        -------
        score : float
            1 is perfect, 0 a constant.
        """
        scorer = get_scorer("r2")
        return scorer(self, X, y, task=task, sample_weight=sample_weight)


class MetaClassifier(ClassifierMixin, BaseMetaNet):
    """Tasks whose labels are classes."""

    _kind = "class"
    _decode = "labels"
    loss = "log_loss"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def classes_(self):
        """Class labels, ndarray or list of them."""
        self._fitted("classes_")
        encoder = self._known.data.encoder
        return encoder.classes[0] if encoder.ndim == 1 else list(encoder.classes)

    def predict_proba(self, X, *, task=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or list of ndarray
            Means over members, in the order of ``classes_``; a list, one array a
            column, when y had two dimensions. 0 for classes that the task of a row
            does not have, where tasks have classes of their own.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        """
        columns, _ = self._columns(X, task)
        return self._known.data.encoder.probabilities(columns)

    def score(self, X, y, *, task=None, sample_weight=None):
        """Average the accuracies of the columns of y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            True labels; missing ones do not count.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_columns), \
                optional
            Weights.

        Returns
        -------
        score : float
            Share of labelled cells that are predicted right.
        """
        scorer = get_scorer("accuracy")
        return scorer(self, X, y, task=task, sample_weight=sample_weight)

    @property
    def _n_slots(self):
        """Classes that the head tells apart; None when there is no limit."""
        return self.net_.blueprint.slots[0]

    def _check_ways(self, known, codes):
        slots = self._n_slots
        if slots is None:
            return
        name, remedy = type(self).__name__, "or fit with a larger n_way"
        if known.novel:
            if (codes < 0).any():
                known = known.as_one
            found = known.slots.shape[1]
        elif known.by_column:
            found = max(known.data.encoder.n_classes)
            remedy = "or fit with a column of as many"
        else:
            return
        if found > slots:
            raise ValueError(
                f"A task has {found} classes, and the head of this {name} tells "
                f"{slots} apart. Adapt it to rows of at most {slots} classes, {remedy}."
            )
