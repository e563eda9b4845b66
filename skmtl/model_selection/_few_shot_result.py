"""What a cross-validation over tasks found."""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.utils import Bunch

from ._shots import mean_of_defined


@dataclass(frozen=True, eq=False, repr=False)
class FewShotResult:
    """Scores of methods by task and number of shots, with intervals over tasks.

    :func:`few_shot_validate` makes it. Printed, it is a table.

    Parameters
    ----------
    n_shots : ndarray of shape (n_shots,), int
        Numbers of labelled rows adapted to.
    tasks : ndarray of shape (n_tasks,)
        The tasks that were held out and scored, sorted.
    scores : dict of ndarray of shape (n_tasks, n_shots) by name of the method
        Means over the episodes of each task; greater is better. NaN where the score is
        not defined.
    scoring : str
        What was scored.
    n_episodes : int
        Random splits of each task.
    confidence : float, default=0.95
        Of the intervals.

    See Also
    --------
    few_shot_validate : Makes it.
    AdaptationCurveDisplay : Draws it.

    Notes
    -----
    The interval of a mean is Student's, with tasks as the sample: it says what other
    tasks of the same kind would change. Tasks of one fold share the trained model, so
    that it is a little too narrow. Methods are compared on the same rows; ask
    :meth:`gain`, whose interval is that of the differences, rather than look whether
    two intervals overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.model_selection import FewShotResult
    >>> scores = {"ours": np.array([[-2.0, -1.0], [-3.0, -1.2], [-4.0, -1.4]])}
    >>> result = FewShotResult(np.array([1, 5]), np.arange(3), scores, "r2", 5)
    >>> result.mean["ours"]
    array([-3. , -1.2])
    """

    n_shots: np.ndarray
    tasks: np.ndarray
    scores: dict
    scoring: str
    n_episodes: int
    confidence: float = 0.95

    @property
    def methods(self):
        """Names of the methods, list of str."""
        return list(self.scores)

    @property
    def mean(self):
        """Means over tasks, dict of ndarray of shape (n_shots,) by method."""
        return {name: mean_of_defined(s, axis=0) for name, s in self.scores.items()}

    @property
    def lower(self):
        """Lower ends of the intervals, dict of ndarray of shape (n_shots,)."""
        return {name: self._interval(s)[0] for name, s in self.scores.items()}

    @property
    def upper(self):
        """Upper ends of the intervals, dict of ndarray of shape (n_shots,)."""
        return {name: self._interval(s)[1] for name, s in self.scores.items()}

    def gain(self, method, over):
        """Compare two methods, task by task.

        Parameters
        ----------
        method : str
            The one whose gain is asked for.
        over : str
            The one it is compared with.

        Returns
        -------
        gain : Bunch
            ``n_shots``, and ``mean``, ``lower`` and ``upper``, ndarrays of shape
            (n_shots,), of the score of `method` less that of `over`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        for name in (method, over):
            if name not in self.scores:
                raise ValueError(
                    f"{name!r} was not scored; the methods are {self.methods}."
                )
        difference = self.scores[method] - self.scores[over]
        lower, upper = self._interval(difference)
        mean = mean_of_defined(difference, axis=0)
        return Bunch(n_shots=self.n_shots, mean=mean, lower=lower, upper=upper)

    def to_dict(self, *, by_task=False):
        """List the results in columns, as frames of any library take them.

        Parameters
        ----------
        by_task : bool, default=False
            Whether to list each task, or the means.

        Returns
        -------
        columns : dict of list
            ``method``, ``n_shots``, and ``mean``, ``lower``, ``upper``, ``n_tasks``; or
            ``task`` and ``score``.
        """
        columns = {"method": [], "n_shots": []}
        shots = self.n_shots.tolist()
        if by_task:
            columns |= {"task": [], "score": []}
            for name, scores in self.scores.items():
                for task, row in zip(self.tasks.tolist(), scores, strict=True):
                    columns["method"] += [name] * len(shots)
                    columns["n_shots"] += shots
                    columns["task"] += [task] * len(shots)
                    columns["score"] += row.tolist()
            return columns
        columns |= {"mean": [], "lower": [], "upper": [], "n_tasks": []}
        for name, scores in self.scores.items():
            columns["method"] += [name] * len(shots)
            columns["n_shots"] += shots
            columns["mean"] += self.mean[name].tolist()
            columns["lower"] += self.lower[name].tolist()
            columns["upper"] += self.upper[name].tolist()
            columns["n_tasks"] += (~np.isnan(scores)).sum(axis=0).tolist()
        return columns

    def to_frame(self, *, by_task=False):
        """Put the results into a frame.

        Parameters
        ----------
        by_task : bool, default=False
            Whether to list each task, or the means.

        Returns
        -------
        frame : pandas.DataFrame
            With the columns of :meth:`to_dict`.

        Raises
        ------
        ImportError
            If pandas is not installed; ``to_dict`` does without it.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_frame returns a pandas DataFrame, and pandas is not installed. Run "
                "`pip install pandas`, or ask to_dict."
            ) from error
        return pandas.DataFrame(self.to_dict(by_task=by_task))

    def _interval(self, values):
        """Compute Student's interval of the mean, NaN with fewer than two tasks."""
        n = (~np.isnan(values)).sum(axis=0)
        mean = mean_of_defined(values, axis=0)
        squares = np.where(np.isnan(values), 0.0, (values - mean) ** 2).sum(axis=0)
        free = np.where(n > 1, n - 1, np.nan)
        half = stats.t.ppf(0.5 + self.confidence / 2, free)
        half = half * np.sqrt(squares / free / np.maximum(n, 1))
        return mean - half, mean + half

    def __repr__(self):
        head = (
            f"{self.scoring} after n shots: mean over {len(self.tasks)} tasks, "
            f"{self.confidence:.0%} interval, {self.n_episodes} episodes a task"
        )
        cells = [["n", *[str(n) for n in self.n_shots]]]
        for name in self.methods:
            ends = zip(self.mean[name], self.lower[name], self.upper[name], strict=True)
            cells.append([name, *[f"{m:.3g} [{a:.3g}, {b:.3g}]" for m, a, b in ends]])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(w) for cell, w in zip(row, widths, strict=True)
            ).rstrip()
            for row in cells
        ]
        return "\n".join([head, *lines])
