"""What the generators of related tasks have in common."""

import numpy as np


def check_arguments(
    n_samples, n_tasks, n_groups, n_outlier_tasks, relatedness, noise, missing, form
):
    """Refuse arguments out of range, naming the first."""
    n_least = n_tasks if form == "rows" else 1
    check_range("n_samples", n_samples, n_samples >= n_least, f"at least {n_least}")
    check_range("n_tasks", n_tasks, n_tasks >= 1, "at least 1")
    check_range("n_groups", n_groups, n_groups >= 1, "at least 1")
    fits = 0 <= n_outlier_tasks <= n_tasks
    check_range("n_outlier_tasks", n_outlier_tasks, fits, "from 0 to n_tasks")
    check_range("relatedness", relatedness, 0 <= relatedness <= 1, "from 0 to 1")
    check_range("noise", noise, noise >= 0, "zero or more")
    check_range("missing", missing, 0 <= missing < 1, "from 0 to less than 1")
    check_range("form", form, form in ("columns", "rows"), "'columns' or 'rows'")


def check_range(name, value, fits, rule):
    """Refuse one argument that does not fit the rule."""
    if not fits:
        raise ValueError(f"{name} must be {rule}; got {value!r}.")


def groups_of_tasks(n_tasks, n_groups, n_outlier_tasks):
    """Number the groups of the tasks, -1 for the outliers, which come last."""
    group = np.arange(n_tasks) % n_groups
    group[n_tasks - n_outlier_tasks :] = -1
    return group


def related_directions(n_features, n_scores, group, relatedness, random_state):
    """Draw unit vectors (n_scores, n_features, n_tasks), related within groups."""
    n_groups = group.max(initial=-1) + 1
    n_own = len(group)
    size = (n_features, (n_groups + n_own) * n_scores)
    drawn = random_state.normal(size=size)
    if n_features >= size[1]:
        drawn = np.linalg.qr(drawn)[0]
    drawn /= np.linalg.norm(drawn, axis=0)
    drawn = drawn.reshape(n_features, n_scores, -1).swapaxes(0, 1)
    own, shared = drawn[..., :n_own], drawn[..., n_own:]
    shared = np.concatenate([shared, np.zeros_like(own[..., :1])], axis=2)  # outliers'
    # Tasks have the share `common` of their squared length in common: their cosine.
    common = np.where(group >= 0, relatedness, 0.0)
    coef = np.sqrt(common) * shared[..., group] + np.sqrt(1 - common) * own
    return coef / np.linalg.norm(coef, axis=1, keepdims=True)


def random_cosines(n_features, random_state):
    """Draw frequencies and phases of random features of about unit variance."""
    frequency = random_state.normal(size=(n_features, n_features))
    phase = random_state.uniform(0, 2 * np.pi, size=n_features)
    return 1.5 * frequency / np.sqrt(n_features), phase


def linear_values(X, basis, coef):
    """Compute (n_samples, n_tasks) from coef (n_features, n_tasks), or with classes."""
    if basis is not None:
        frequency, phase = basis
        X = np.sqrt(2) * np.cos(X @ frequency + phase)
    values = X @ coef
    return values if values.ndim == 2 else np.moveaxis(values, 0, -1)


def tasks_of_rows(form, n_samples, n_tasks, random_state):
    """Give every row a task, in tasks of equal size; None for column tasks."""
    if form == "columns":
        return None
    return random_state.permutation(np.arange(n_samples) % n_tasks)


def of_own_task(values, task):
    """Keep what belongs to the task of each row; everything for column tasks."""
    return values if task is None else values[np.arange(len(task)), task]


def hide_labels(y, task, share, random_state):
    """Make a share of the labels of each task NaN, one of each class excepted."""
    if share == 0:
        return y
    hidden = y.astype(float)
    columns = y.T if task is None else [y] * (task.max() + 1)
    for t, column in enumerate(columns):
        rows = np.arange(len(y)) if task is None else np.flatnonzero(task == t)
        order = random_state.permutation(rows)
        kinds = column[order] if y.dtype.kind == "i" else np.zeros(len(order))
        others = np.delete(order, np.unique(kinds, return_index=True)[1])
        gone = others[: round(share * len(rows))]
        hidden[(gone, t) if task is None else gone] = np.nan
    return hidden


def result(X, y, task, oracle, return_oracle):
    """Put together what a generator returns."""
    data = (X, y) if task is None else (X, y, task)
    return (*data, oracle) if return_oracle else data
