"""Weights of classes."""

import numpy as np

from .._per_task import per_task


def check_class_weight(class_weight, names, classes, y, weight):
    """Turn ``class_weight`` into factors, by column and class.

    Parameters
    ----------
    class_weight : None, "balanced", dict, list of them or dict by task name
        A dict of weights by class serves a single column; several columns take a list,
        or a dict by name. Classes that a dict leaves out count 1.
    names : sequence, length n_columns
        Of the columns.
    classes : list of (ndarray or None), length n_columns
        Classes of each column; None for numbers.
    y, weight : ndarray of shape (n_rows, n_columns)
        Class codes, NaN where missing, and weights.

    Returns
    -------
    factors : tuple of (ndarray of shape (n_classes,) or None), or None
        By column; None when all are one.

    Raises
    ------
    ValueError
        If a name is unknown, a list has the wrong length, or a weight is not a number
        of zero or more.
    """
    if class_weight is None:
        return None
    values = class_weight.values() if isinstance(class_weight, dict) else ()
    by_name = all(isinstance(v, (dict, str)) or v is None for v in values)
    if isinstance(class_weight, dict) and not by_name and len(names) > 1:
        raise ValueError(
            "class_weight is one dict of weights by class, but there are "
            f"{len(names)} tasks: {list(names)[:10]}. Pass a list, one dict a task, or "
            "a dict by task name."
        )
    chosen = per_task("class_weight", class_weight, names, dict_by_name=by_name)
    if isinstance(class_weight, str):
        chosen = [
            choice if known is not None else None
            for choice, known in zip(chosen, classes, strict=True)
        ]
    columns = zip(names, chosen, classes, y.T, weight.T, strict=True)
    return tuple(_factors(*column) for column in columns)


def _factors(name, choice, classes, codes, weight):
    if choice is None:
        return None
    if classes is None:
        raise ValueError(
            f"class_weight weighs classes of task {name!r}, whose labels are numbers."
        )
    if isinstance(choice, str):
        if choice != "balanced":
            raise ValueError(
                f"class_weight={choice!r} for task {name!r} is not known; pass "
                "'balanced', a dict of weights by class, or None."
            )
        labelled = ~np.isnan(codes)
        counts = np.bincount(
            codes[labelled].astype(int), weight[labelled], minlength=len(classes)
        )
        return counts.sum() / (len(classes) * np.where(counts > 0, counts, 1.0))
    if not isinstance(choice, dict):
        raise ValueError(
            f"class_weight of task {name!r} is {choice!r}; pass 'balanced', a dict of "
            "weights by class, or None."
        )
    known = classes.tolist()
    unknown = [label for label in choice if label not in known]
    unweighted = [label for label in known if label not in choice]
    # As in scikit-learn: a fold may lack a class, but a typo names one and misses one.
    if unknown and unweighted:
        raise ValueError(
            f"class_weight of task {name!r} names the class {unknown[0]!r}, which is "
            f"not among its classes {known[:10]}, and leaves out {unweighted[0]!r}."
        )
    factors = np.array([float(choice.get(label, 1.0)) for label in known])
    if not np.isfinite(factors).all() or (factors < 0).any() or not factors.any():
        raise ValueError(
            f"class_weight of task {name!r} must hold finite weights of zero or more, "
            f"not all zero; got {choice!r}."
        )
    return factors
