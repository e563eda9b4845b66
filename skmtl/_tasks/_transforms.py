"""Transforms of labels: what the networks learn instead of the label itself."""

import numpy as np
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer

from .._per_task import per_task


def target_transforms(target_transform, names, kinds):
    """Choose the transform of every column.

    Parameters
    ----------
    target_transform : None, "log1p", "quantile", transformer, list or dict
        One for all columns that hold numbers, one a column, or some by name.
    names : sequence, length n_columns
        Of the columns.
    kinds : sequence of {"number", "class"}, length n_columns
        What their labels are.

    Returns
    -------
    transforms : list of (str, transformer or None), length n_columns
        Not fitted.

    Raises
    ------
    ValueError
        If a name is unknown, a list has the wrong length, a choice is no transform, or
        a task of classes is to be transformed.
    """
    chosen = per_task("target_transform", target_transform, names)
    by_task = isinstance(target_transform, (dict, list, tuple))
    transforms = []
    for name, kind, choice in zip(names, kinds, chosen, strict=True):
        if choice is None or (kind == "class" and not by_task):
            transforms.append(None)
            continue
        if kind == "class":
            raise ValueError(
                f"target_transform transforms task {name!r}, whose labels are classes; "
                "only numbers are transformed. Leave it out."
            )
        named = isinstance(choice, str) and choice in ("log1p", "quantile")
        made = hasattr(choice, "inverse_transform") and not isinstance(choice, type)
        if not named and not made:
            raise ValueError(
                f"target_transform={choice!r} for task {name!r} is not a transform; "
                "pass None, 'log1p', 'quantile' or a transformer with "
                "inverse_transform."
            )
        transforms.append(choice)
    return transforms


class LabelTransform:
    """The fitted transform of one column; missing labels stay missing.

    Parameters
    ----------
    name : object
        The task, for messages.
    transform : {"log1p", "quantile"} or transformer
        What to fit; a transformer is cloned.
    """

    def __init__(self, name, transform):
        self.name = name
        self.transform = transform

    def fit(self, labels):
        """Fit to the labels that are there.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,)
            NaN where missing.

        Returns
        -------
        self : LabelTransform
            Fitted.

        Raises
        ------
        ValueError
            If labels are outside the range of the transform, or what comes out is not
            one finite number a label.
        """
        known = labels[~np.isnan(labels)]
        self._check_domain(known)
        self.transformer_ = self._make(known).fit(known[:, None])
        made = self._checked(known)
        self.range_ = made.min(), made.max()
        in_order = made[np.argsort(known, kind="stable")]
        self.increasing_ = bool((np.diff(in_order) >= 0).all())
        return self

    def check(self, labels):
        """Refuse labels that the fitted transform cannot take.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,)
            NaN where missing.

        Raises
        ------
        ValueError
            If what comes out is not one finite number a label.
        """
        known = labels[~np.isnan(labels)]
        if len(known):
            self._check_domain(known)
            self._checked(known)

    def _checked(self, known):
        """Transform labels, and refuse what is not one finite number a label."""
        made = np.asarray(self.transformer_.transform(known[:, None]))
        finite = np.isfinite(made).all()
        if made.shape != (len(known), 1) or not finite:
            raise ValueError(
                f"target_transform turns the {len(known)} labels of task {self.name!r} "
                f"into an array of shape {made.shape}"
                + ("" if finite else " with infinite or missing values")
                + "; it has to give one finite number a label."
            )
        return made[:, 0]

    def _check_domain(self, known):
        log = isinstance(self.transform, str) and self.transform == "log1p"
        if log and (known <= -1).any():
            raise ValueError(
                "target_transform='log1p' needs labels above -1; the smallest of task "
                f"{self.name!r} is {known.min():g}. Pass another transform for it, "
                "such as 'quantile'."
            )

    def _make(self, known):
        if not isinstance(self.transform, str):
            return clone(self.transform)
        if self.transform == "log1p":
            return FunctionTransformer(np.log1p, np.expm1)
        return QuantileTransformer(
            n_quantiles=min(1000, len(known)),
            output_distribution="normal",
            subsample=None,
        )

    def forward(self, labels):
        """Transform labels.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,)
            NaN where missing.

        Returns
        -------
        transformed : ndarray of shape (n_samples,)
            NaN where missing.
        """
        return self._apply(self.transformer_.transform, labels)

    def inverse(self, transformed):
        """Go back to labels.

        Parameters
        ----------
        transformed : ndarray of any shape
            Transformed labels.

        Returns
        -------
        labels : ndarray of the same shape
            In units of the labels.
        """
        inverse = self.transformer_.inverse_transform
        labels = self._apply(inverse, transformed.ravel())
        # Beyond the pole of a power there is nothing: the nearest seen label instead.
        lost = np.isnan(labels) & ~np.isnan(transformed.ravel())
        if lost.any():
            seen = np.clip(transformed.ravel()[lost], *self.range_)
            labels[lost] = self._apply(inverse, seen)
        return labels.reshape(transformed.shape)

    @staticmethod
    def _apply(function, values):
        known = ~np.isnan(values)
        result = np.full(len(values), np.nan)
        if known.any():
            result[known] = np.asarray(function(values[known][:, None]))[:, 0]
        return result
