"""What every loss answers."""

import numpy as np

from .._strategy import PerNetwork, Strategy


class Loss(Strategy):
    """Base class of the choices for ``loss=``.

    A loss owns its number of outputs, its link, the scaling of its targets and its
    initial bias. All methods are pure functions of tensors, the same for one network
    and for a bank. What is here serves losses of numbers with one output.

    Attributes
    ----------
    kind : {"number", "class"}
        What the labels of its tasks are.
    orders : bool
        Whether predictions are positions in the order of the labels, which a
        descending ``target_transform`` would turn around.
    takes_corrections : bool
        Whether predictions are means of labels that held-out errors of near rows may
        be added to.
    """

    kind = "number"
    orders = False
    takes_corrections = False

    def n_outputs(self, n_classes):
        """Number of outputs that a task needs.

        Parameters
        ----------
        n_classes : int or None
            Classes of the task, None when its labels are numbers.

        Returns
        -------
        n_outputs : int
            At least 1.
        """
        return 1

    def n_predictions(self, n_classes):
        """Number of predictions that :meth:`link` makes for a task.

        Parameters
        ----------
        n_classes : int or None
            Classes of the task, None when its labels are numbers.

        Returns
        -------
        n_predictions : int
            At least 1.
        """
        return 1

    @property
    def point(self):
        """Position among the predictions of the one that ``predict`` reports, int."""
        return 0

    def check_labels(self, name, labels):
        """Refuse labels outside the range of the loss.

        Parameters
        ----------
        name : object
            The task, for messages.
        labels : ndarray of shape (n_labelled,)
            Its labels, none of them missing.
        """

    def scaling(self, mean, scale):
        """Choose the scaling of a task's targets, ``(label - shift) / unit``.

        Parameters
        ----------
        mean, scale : float
            Weighted moments of the labels; the scale of constant labels is 0.

        Returns
        -------
        shift, unit : float
            By default to zero mean and unit variance, so that tasks in different units
            count alike.
        """
        return mean, scale if scale > 0 else 1.0

    def cells(self, outputs, targets):
        """Compute the loss of every cell of tasks that have equally many outputs.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, n_outputs)
            Raw outputs of the network.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Encoded labels; any finite number where a label is missing.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            Never NaN for finite outputs.
        """
        raise NotImplementedError("abstract method")

    def training_cells(self, outputs, targets):
        """Compute what training minimises, where that is not the loss itself.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, n_outputs)
            Raw outputs of the network.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Encoded labels.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            By default those of :meth:`cells`.
        """
        return self.cells(outputs, targets)

    def derivatives(self, outputs, targets):
        """Differentiate :meth:`cells` twice, each by the one output it depends on.

        A shortcut past autograd, of which meta-learning takes many in a step. Only a
        loss with one output has it.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks)
            Raw outputs of the network.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Encoded labels.

        Returns
        -------
        derivatives : tuple of (Tensor, Tensor or float) or None
            First and second; None for autograd.
        """
        return None

    @property
    def has_derivatives(self):
        """Whether :meth:`derivatives` are those of what training minimises, bool."""
        kind = type(self)
        owner = next(c for c in kind.__mro__ if "derivatives" in vars(c))
        # Not those of the base class of a loss with cells of its own.
        plain = kind.training_cells is Loss.training_cells
        return owner is not Loss and plain and kind.cells is vars(owner).get("cells")

    def link(self, outputs):
        """Turn raw outputs into predictions that can be averaged over members.

        Parameters
        ----------
        outputs : Tensor of shape (..., n_outputs)
            Of one task.

        Returns
        -------
        predictions : Tensor of shape (..., n_predictions)
            Numbers in units of the scaled target, or class probabilities.
        """
        return outputs

    def initial_bias(self, targets, weights, n_classes):
        """Find the outputs of the best constant prediction.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Encoded labels and weights, 0 where a label is missing.
        n_classes : int or None
            Classes of the task.

        Returns
        -------
        bias : ndarray of shape (n_outputs,)
            Where the head of the task starts; by default the weighted mean, 0 for a
            task without labels.
        """
        total = weights.sum()
        return np.array([(targets * weights).sum() / total if total > 0 else 0.0])

    def _value(self, name, like):
        """Read a hyperparameter in the form that multiplies cells."""
        value = getattr(self, name)
        if isinstance(value, PerNetwork):
            return like.new_tensor(value.values)[:, None, None]
        return value


def weighted_quantile(targets, weights, level):
    """Find the smallest target at or below which lies a share `level` of the weight.

    Parameters
    ----------
    targets, weights : ndarray of shape (n_samples,)
        Weights are 0 where a label is missing.
    level : float
        In (0, 1).

    Returns
    -------
    quantile : float
        0 when all weights are 0.
    """
    used = weights > 0
    if not used.any():
        return 0.0
    return float(
        np.quantile(targets[used], level, weights=weights[used], method="inverted_cdf")
    )
