"""Adaptation by gradient steps, as estimators offer it."""

from numbers import Integral


class AdaptsBySteps:
    """Take gradient steps on the rows of a task."""

    _remedy = "use a smaller inner_lr, or fewer steps"

    def _network_clip_norm(self):
        # Gradients are clipped task by task, before they meet.
        return None

    def adapt(self, X, y, *, task=None, sample_weight=None, n_steps=None):
        """Learn new tasks from a few rows, by gradient steps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the new task, with the columns known from fit. The task column may
            be left out, for one task.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            Their labels; missing ones are left out.
        task : array-like of shape (n_samples,), optional
            The task of each row, for several tasks at once.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.
        n_steps : int, optional
            Gradient steps; by default those of the estimator. 0 changes nothing.

        Returns
        -------
        adapted : estimator
            A new fitted estimator of the new tasks alone. With one task it takes X
            alone; with several, ids as fit did.

        Raises
        ------
        ValueError
            If the data is malformed, has no label, or `n_steps` is negative.

        Notes
        -----
        The estimator it is called on is unchanged; both share the trained net. Only the
        rows given here count: to update a task that was in fit, pass its rows of fit
        along. Adapting an adapted estimator adds the rows to those it has, and starts
        from the meta-model again.
        """
        options = {}
        if n_steps is not None:
            if not isinstance(n_steps, Integral) or n_steps < 0:
                raise ValueError(
                    f"n_steps must be an int of at least 0; got {n_steps}."
                )
            options["n_steps"] = int(n_steps)
        return self._adapt(X, y, task, sample_weight, options)
