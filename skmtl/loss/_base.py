"""What every loss answers."""

from .._strategy import Strategy


class Loss(Strategy):
    """Base class of the choices for ``loss=``.

    A loss owns its number of outputs, its link, the scaling of its targets and its
    initial bias. All methods are pure functions of tensors, the same for one network
    and for a bank.
    """

    scales_targets = False

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
        raise NotImplementedError("abstract method")

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
        raise NotImplementedError("abstract method")

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
            Where the head of the task starts.
        """
        raise NotImplementedError("abstract method")
