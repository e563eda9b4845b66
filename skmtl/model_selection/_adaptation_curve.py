"""A picture of the score against the number of shots."""

from ._few_shot_validate import few_shot_validate


class AdaptationCurveDisplay:
    """Draw how well methods do on new tasks, against the rows they adapt to.

    Make one by :meth:`from_result` or :meth:`from_estimator`.

    Parameters
    ----------
    result : FewShotResult
        What to draw; stored as the attribute `result`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure around it.
    lines_ : list of matplotlib Line2D
        The mean over tasks, one line a method.
    fill_between_ : list of matplotlib PolyCollection or None
        The intervals, one band a method.

    See Also
    --------
    few_shot_validate : Computes the result.
    sklearn.model_selection.LearningCurveDisplay : For a single task.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skmtl.model_selection import AdaptationCurveDisplay, FewShotResult
    >>> scores = {"ours": np.array([[-2.0, -1.0], [-3.0, -1.2], [-4.0, -1.4]])}
    >>> result = FewShotResult(np.array([1, 5]), np.arange(3), scores, "r2", 5)
    >>> ax = Figure().subplots()
    >>> display = AdaptationCurveDisplay.from_result(result, ax=ax)
    >>> display.lines_[0].get_ydata()
    array([-3. , -1.2])
    """

    def __init__(self, *, result):
        self.result = result

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        task,
        *,
        ax=None,
        methods=None,
        interval=True,
        negate_score=False,
        score_name=None,
        **kwargs,
    ):
        """Cross-validate over tasks, and draw the result.

        Parameters
        ----------
        estimator : estimator or dict of estimators by name
            Not fitted.
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            Labels.
        task : str, int or array-like of shape (n_samples,)
            Which task a row belongs to.
        ax, methods, interval, negate_score, score_name : object
            As for :meth:`plot`.
        **kwargs : dict
            Further arguments of :func:`few_shot_validate`.

        Returns
        -------
        display : AdaptationCurveDisplay
            Drawn; the numbers are in its attribute `result`.
        """
        result = few_shot_validate(estimator, X, y, task, **kwargs)
        return cls.from_result(
            result,
            ax=ax,
            methods=methods,
            interval=interval,
            negate_score=negate_score,
            score_name=score_name,
        )

    @classmethod
    def from_result(
        cls,
        result,
        *,
        ax=None,
        methods=None,
        interval=True,
        negate_score=False,
        score_name=None,
    ):
        """Draw what a cross-validation over tasks found.

        Parameters
        ----------
        result : FewShotResult
            Of :func:`few_shot_validate`.
        ax, methods, interval, negate_score, score_name : object
            As for :meth:`plot`.

        Returns
        -------
        display : AdaptationCurveDisplay
            Drawn.
        """
        return cls(result=result).plot(
            ax,
            methods=methods,
            interval=interval,
            negate_score=negate_score,
            score_name=score_name,
        )

    def plot(
        self,
        ax=None,
        *,
        methods=None,
        interval=True,
        negate_score=False,
        score_name=None,
    ):
        """Draw one line a method.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to; None makes a figure.
        methods : list of str, default=None
            Which, in this order; None draws all.
        interval : bool, default=True
            Whether to draw bands.
        negate_score : bool, default=False
            Whether to turn the sign, so that a negative error is drawn as an error.
        score_name : str, default=None
            Label of the vertical axis; None makes one of the name of the score.

        Returns
        -------
        display : AdaptationCurveDisplay
            Itself, with the attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a method was not scored.
        """
        result = self.result
        methods = result.methods if methods is None else list(methods)
        for name in methods:
            if name not in result.methods:
                raise ValueError(
                    f"{name!r} was not scored; the methods are {result.methods}."
                )
        ax = _import_pyplot().subplots()[1] if ax is None else ax
        mean, lower, upper = result.mean, result.lower, result.upper
        sign = -1 if negate_score else 1
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_, self.fill_between_ = [], [] if interval else None
        for name in methods:
            (line,) = ax.plot(
                result.n_shots, sign * mean[name], marker="o", markersize=4, label=name
            )
            self.lines_.append(line)
            if interval:
                ends = sign * lower[name], sign * upper[name]
                band = ax.fill_between(
                    result.n_shots, *ends, color=line.get_color(), alpha=0.15, lw=0
                )
                self.fill_between_.append(band)
        if score_name is None:
            score_name = _label(result.scoring, negate_score)
        ax.set_xticks(result.n_shots)
        ax.set_xlabel("Labelled rows of the new task")
        ax.set_ylabel(score_name)
        ax.legend()
        return self


def _import_pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "AdaptationCurveDisplay.plot needs matplotlib, which is not installed. Run "
            "`pip install skmtl[plot]`."
        ) from error
    return plt


def _label(scoring, negated):
    """Say what the axis shows, in words."""
    words = scoring.removeprefix("neg_").replace("_", " ")
    if negated == scoring.startswith("neg_"):
        return words[:1].upper() + words[1:]
    return f"Negative {words}"
