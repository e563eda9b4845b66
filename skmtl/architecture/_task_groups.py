"""One trunk for each group of tasks."""

from dataclasses import replace
from numbers import Real

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.base import clone
from torch import nn

from .._bank import RowsBank, StackBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._apart import ApartModule
from ._base import Architecture
from ._experts import Experts
from ._extraction import OwnExperts, OwnHead
from ._heads import moved
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes


class TaskGroups(Architecture):
    r"""Give each group of tasks a trunk of its own.

    Tasks of a group share hidden layers as in :class:`HardSharing`; those of other
    groups cannot disturb them. ``groups="auto"`` finds the groups: a short training
    with one trunk for all tasks measures how far each two tasks agree. Groups are
    joined, the closest first (average linkage), as long as their mean affinity exceeds
    the threshold; a task that suits nobody stays alone.

    Affinity is the mean cosine between the gradients of two tasks at the shared
    parameters, as in [1]_ and [2]_, or the lookahead gain of [2]_. That is how far the
    loss of task j falls in a step of the shared parameters for task i,
    :math:`L_j(\theta) - L_j(\theta - \eta g_i / |g_i|)`, over how far it falls in a
    step of its own, both summed over the training, and the mean of both ways.
    (Equation 1 of [2]_ divides by the loss instead.) For short steps it is the cosine,
    where epochs and networks with more to gain count more. Either is about zero for
    tasks that have nothing in common.

    Parameters
    ----------
    groups : "auto" or sequence of sequences, default="auto"
        The names of the tasks in each group. Every task is in one.
    affinity : {"cosine", "lookahead"} or array-like, default="cosine"
        How "auto" measures the affinity of tasks in fit, or the affinity itself, of
        shape (n_tasks, n_tasks).
    threshold : float, default=0.02
        Least mean affinity of groups that "auto" joins, in [-1, 1]. Gains are noisier
        than cosines; 0.05 suits them better where rows are few.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of a trunk. "auto" is (128, 128).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviation of a task from the head of its group,
        in units of the loss of one labelled cell.

    See Also
    --------
    MMoE : Tasks choose among experts row by row.
    HardSharing : What one group is.

    Notes
    -----
    The shared parameters are those of the trunks, of which each task trains its
    group's; the gradients of tasks of two groups are orthogonal. Groups have no common
    representation (``has_features`` is False): weightings compare gradients on the
    shared parameters.

    A row of an unknown task has the prediction of the heads of all groups, averaged
    with the numbers of their tasks. ``adapt`` puts a linear head on the features of all
    groups side by side.

    The measure costs 30 epochs of four small networks on the training rows of the
    first member, once for all members; a search measures in each fit. It looks at all
    pairs of tasks: this is for up to some hundred, and gains cost more than cosines.
    Row tasks may be small, and their gradients mostly noise. They are cut into halves,
    and the affinity of two tasks is divided by the mean affinity of the halves of one
    (correction for attenuation, [3]_).

    After ``fit``, ``architecture_.affinity_`` and ``architecture_.groups_`` have what
    was found.

    References
    ----------
    .. [1] T. Standley, A. Zamir, D. Chen, L. Guibas, J. Malik, S. Savarese (2020).
       Which Tasks Should Be Learned Together in Multi-task Learning? ICML.
       https://arxiv.org/abs/1905.07553
    .. [2] C. Fifty, E. Amid, Z. Zhao, T. Yu, R. Anil, C. Finn (2021). Efficiently
       Identifying Task Groupings for Multi-Task Learning. NeurIPS.
       https://arxiv.org/abs/2109.04617
    .. [3] C. Spearman (1904). The Proof and Measurement of Association between Two
       Things. American Journal of Psychology 15, 72-101.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import TaskGroups
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], 2 * X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> grouped = TaskGroups([[0, 1], [2]], hidden_layer_sizes=(8,))
    >>> model = MultiTaskNetRegressor(grouped, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.groups_
    [[0, 1], [2]]
    """

    _fusable = ("dropout", "task_shrinkage")
    _parameter_constraints = {
        "groups": [StrOptions({"auto"}), "array-like"],
        "affinity": [StrOptions({"cosine", "lookahead"}), "array-like"],
        "threshold": [Interval(Real, -1, 1, closed="both")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        groups="auto",
        *,
        affinity="cosine",
        threshold=0.02,
        hidden_layer_sizes="auto",
        activation="relu",
        dropout=0.0,
        task_shrinkage=10.0,
    ):
        self.groups = groups
        self.affinity = affinity
        self.threshold = threshold
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.task_shrinkage = task_shrinkage

    @property
    def asks_pilot(self):
        """Whether the affinity is to be measured, bool."""
        return isinstance(self.groups, str) and isinstance(self.affinity, str)

    @property
    def looks_ahead(self):
        """Whether affinity is to be measured by steps, not by cosines, bool."""
        return isinstance(self.affinity, str) and self.affinity == "lookahead"

    def after_pilot(self, pilot, task_names):
        """Take over the affinity that was measured.

        Parameters
        ----------
        pilot : Pilot
            Of the tasks.
        task_names : sequence
            Unused.

        Returns
        -------
        architecture : TaskGroups
            A clone.
        """
        rows = tuple(tuple(map(float, row)) for row in pilot.affinity)
        return clone(self).set_params(affinity=rows)

    def as_before(self, earlier):
        """Take over the affinity of networks that are trained on.

        Parameters
        ----------
        earlier : Architecture
            Of these networks.

        Returns
        -------
        architecture : TaskGroups
            A clone.
        """
        return clone(self).set_params(
            affinity=getattr(earlier, "affinity", self.affinity)
        )

    def build(self, shape, streams=None):
        """Make a trunk for each group, and the heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : TaskGroupsModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, there is none, or groups or
            affinity do not fit the tasks.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (128, 128), n_least=1)
        return TaskGroupsModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads on the features of all groups.
        """
        return LinearReadout.of(self, shape)

    def group_numbers(self, shape):
        """Say which group each task is in.

        Parameters
        ----------
        shape : BankShape
            Names the tasks.

        Returns
        -------
        numbers : list of int, length n_tasks
            Counted from 0, in the order in which groups appear.

        Raises
        ------
        ValueError
            See :meth:`build`.
        """
        n_tasks = shape.n_tasks
        if not isinstance(self.groups, str):
            return self._given(shape.names)
        if n_tasks == 1:
            return [0]
        if isinstance(self.affinity, str):
            raise ValueError(
                "TaskGroups(groups='auto') measures the affinity of tasks in the fit "
                "of an estimator of known tasks. Pass groups or affinity here."
            )
        return in_order(clustered(self._checked_affinity(n_tasks), self.threshold))

    def _given(self, names):
        found = {}
        for number, group in enumerate(self.groups):
            single = isinstance(group, str) or not hasattr(group, "__iter__")
            members = [group] if single else group
            for name in members:
                if name not in names:
                    raise ValueError(
                        f"TaskGroups(groups=...) names {name!r}, which is no task. The "
                        f"tasks are {list(names)}."
                    )
                if name in found:
                    raise ValueError(
                        f"Task {name!r} is in two groups of TaskGroups(groups=...)."
                    )
                found[name] = number
        lacking = [name for name in names if name not in found]
        if lacking:
            raise ValueError(
                f"Task {lacking[0]!r} is in no group of TaskGroups(groups=...). Every "
                "task needs one; it may be alone in it."
            )
        return in_order([found[name] for name in names])

    def _checked_affinity(self, n_tasks):
        affinity = np.asarray(self.affinity, dtype=float)
        if affinity.shape != (n_tasks, n_tasks) or not np.isfinite(affinity).all():
            raise ValueError(
                "The 'affinity' parameter of TaskGroups must be finite numbers of "
                f"shape (n_tasks, n_tasks), here ({n_tasks}, {n_tasks}). Got shape "
                f"{affinity.shape}."
            )
        return (affinity + affinity.T) / 2


def in_order(labels):
    """Number labels by their first appearance.

    Parameters
    ----------
    labels : sequence
        Hashable.

    Returns
    -------
    numbers : list of int
        From 0.
    """
    numbers = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]


def clustered(affinity, threshold):
    """Join tasks by average linkage.

    Parameters
    ----------
    affinity : ndarray of shape (n_tasks, n_tasks)
        Symmetric.
    threshold : float
        Least mean affinity of clusters that are joined.

    Returns
    -------
    labels : list of int
        By task.
    """
    # Distances must not be negative; affinities may exceed 1.
    highest = max(1.0, affinity.max())
    distance = highest - affinity
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    # Up to the threshold, but not at it.
    height = np.nextafter(highest - threshold, -np.inf)
    return fcluster(tree, height, "distance").tolist()


class TaskGroupsModule(ApartModule):
    """The bank that :class:`TaskGroups` builds.

    Parameters
    ----------
    strategy : TaskGroups
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    groups_ : list of list
        Names of the tasks in each group.
    affinity_ : ndarray of shape (n_tasks, n_tasks) or None
        By which they were grouped; None for given groups.
    trunks : OwnExperts
        One a group.
    heads : OwnHead or GroupedRowHead
        From the features of a group to the outputs of its tasks.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        numbers = strategy.group_numbers(shape)
        names, n_groups = shape.names, max(numbers) + 1
        self.groups_ = [
            [name for name, g in zip(names, numbers, strict=True) if g == group]
            for group in range(n_groups)
        ]
        known = not isinstance(strategy.affinity, str)
        self.affinity_ = np.asarray(strategy.affinity, float) if known else None
        rates = strategy.per_network("dropout", shape.n_networks).to(shape.dtype)
        owners = [numbers[t] for t in shape.task_of_output]
        if shape.row_tasks:
            owners = None
        by_group = replace(
            shape, n_tasks=n_groups, owners=None if owners is None else tuple(owners)
        )
        settings = sizes, ACTIVATIONS[strategy.activation], rates, shape.dtype
        self.trunks = OwnExperts(by_group, 1, shape.width, *settings)
        self.rows = shape.row_tasks
        if self.rows:
            shrinkage = strategy.per_network("task_shrinkage", shape.n_networks)
            self.heads = GroupedRowHead(shape, numbers, sizes[-1], shrinkage)
        else:
            self.heads = OwnHead(by_group, sizes[-1])
        if streams is not None:
            self.trunks.reset(streams, shape.n_inputs)
            self.heads.shared.reset(streams, "head")

    @property
    def widest(self):
        """Floats of the widest layer of a row in one network, int."""
        return max(
            bank.bias[0].numel() for bank in (self.trunks.first, *self.trunks.layers)
        )

    def forward(self, inputs, task=None):
        """Run the trunk of each task's group.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        if task is None:
            return self.heads(self.own_features(inputs))
        inputs = inputs.expand(len(task), -1, -1)
        group = self.heads.group_of_rows(task)
        hidden = self.trunks(inputs, group)[:, 0, 0]
        outputs = self.heads(hidden, task, group)
        unknown = group == self.heads.shared.weight.shape[1]
        # In training they are padding, and count for nothing.
        if self.training or not unknown.any():
            return outputs
        some = unknown.any(0)
        weight, bias, _ = self.pooled_head()
        mean = self.readout(inputs[:, some]) @ weight + bias.unsqueeze(1)
        outputs[:, some] = torch.where(
            unknown[:, some].unsqueeze(-1), mean, outputs[:, some]
        )
        return outputs

    def own_features(self, inputs, task=None):
        """Run every row through the trunks of all groups.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : optional
            Unused.

        Returns
        -------
        features : Tensor of shape (n_networks, n_groups, n_rows, n_hidden)
            By group.
        """
        if self.rows:
            inputs = inputs.unsqueeze(1)
        return Experts.forward(self.trunks, inputs)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_groups * n_hidden)
            Last hidden layers of all groups side by side.
        """
        return self.own_features(inputs).transpose(1, 2).flatten(2)

    def pooled_head(self):
        """Give the head whose outputs are the means over tasks.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_groups * n_hidden, n_outputs)
            From the readout to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        shrinkage : Tensor of shape (n_networks,)
            Ridge strength on the deviation of a task.
        """
        shared = self.heads.shared
        counts = self.heads.groups[0, :-1].bincount().to(shared.weight)
        share = (counts / counts.sum())[:, None, None]
        weight = (share * shared.weight).flatten(1, 2)
        return weight, (share * shared.bias).sum(1).squeeze(1), self.heads.shrinkage

    def set_output_bias(self, bias):
        """Start the heads at the best constant prediction.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_outputs)
            From the loss of each task.
        """
        if not self.rows:
            super().set_output_bias(bias)
            return
        with torch.no_grad():
            self.heads.shared.bias.copy_(bias[:, None, None])

    def shared_parameters(self):
        """List the trunks of all groups.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.trunks.parameters())


class GroupedRowHead(nn.Module):
    """Heads of row tasks: that of the group, plus a shrunk deviation a task.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    numbers : list of int
        Group of each task.
    n_hidden : int
        Features of a group.
    shrinkage : Tensor of shape (n_networks,)
        Ridge strength on deviations.
    """

    def __init__(self, shape, numbers, n_hidden, shrinkage):
        super().__init__()
        n_groups = max(numbers) + 1
        sizes = shape.n_networks, n_groups, n_hidden, shape.n_outputs
        self.shared = StackBank(*sizes, dtype=shape.dtype)
        columns = shape.n_tasks, (n_hidden + 1) * shape.n_outputs
        self.deviation = RowsBank(shape.n_networks, *columns, dtype=shape.dtype)
        self.register_buffer("shrinkage", shrinkage.to(shape.dtype))
        table = torch.tensor([[*numbers, n_groups]] * shape.n_networks)
        self.register_buffer("groups", table, persistent=False)

    def group_of_rows(self, task):
        """Look up the group of each row.

        Parameters
        ----------
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        group : Tensor of shape (n_networks, n_rows), int64
            ``n_groups`` for no task.
        """
        return self.groups.gather(1, task)

    def forward(self, hidden, task, group):
        """Compute the head of each row's task.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_rows, n_hidden)
            Of the row's group.
        task, group : Tensor of shape (n_networks, n_rows), int64
            Of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of each row's own task; of no use for rows of no task.
        """
        n_groups = self.shared.weight.shape[1]
        offsets = torch.arange(len(task), device=task.device)[:, None] * n_groups
        ids = (group.clamp(max=n_groups - 1) + offsets).flatten()
        weight = self.shared.weight.flatten(0, 1).index_select(0, ids)
        bias = self.shared.bias.flatten(0, 1).index_select(0, ids)
        outputs = torch.baddbmm(bias, hidden.flatten(0, 1).unsqueeze(1), weight)
        return outputs.view(*task.shape, -1) + moved(hidden, self.deviation(task))

    def task_parameters(self):
        """List the deviations.

        Returns
        -------
        parameters : list of Parameter
            Of shape (n_networks, n_tasks + 1, n_columns).
        """
        return [self.deviation.weight]

    def penalty(self, share):
        """Shrink the deviations.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Of the tasks in the batch.
        """
        return self.deviation.penalty(share, self.shrinkage)
