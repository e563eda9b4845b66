"""What every architecture answers."""

from torch import nn

from .._bank import RowsBank
from .._strategy import Strategy


class Architecture(Strategy):
    """Base class of the choices for ``architecture=``.

    Attributes
    ----------
    reads_raw : bool
        Whether ``encoding=None`` hands the table over as it is, in any rank, instead
        of encoding it.
    learns_tasks : bool
        Whether its module has ``learn_task``, by which ``adapt`` learns a new group of
        rows instead of a linear head.
    """

    reads_raw = False
    learns_tasks = False

    @property
    def asks_pilot(self):
        """Whether it has to know how the tasks get on before it is built, bool."""
        return False

    @property
    def looks_ahead(self):
        """Whether affinity is to be measured by steps, not by cosines, bool."""
        return False

    @property
    def validates_pooling(self):
        """Whether held-out rows choose how strongly row tasks are pooled, bool.

        If so, its module has :meth:`ArchitectureModule.pool`.
        """
        return False

    def check_tasks(self, row_tasks):
        """Refuse tasks for which it makes no sense, before anything is trained.

        Parameters
        ----------
        row_tasks : bool
            Whether each row has one task.

        Raises
        ------
        ValueError
            If it makes none.
        """

    def after_pilot(self, pilot, task_names):
        """Settle what was left to a short training with one trunk for all tasks.

        Parameters
        ----------
        pilot : Pilot
            ``affinity`` of shape (n_tasks, n_tasks), mean cosines between gradients or
            gains by steps, and ``unexplained`` of shape (n_tasks,), the loss over that
            of a constant.
        task_names : sequence
            Names of the tasks.

        Returns
        -------
        architecture : Architecture
            A clone that does not ask.
        """
        return self

    def as_before(self, earlier):
        """Take over what an earlier pilot settled, to train on.

        Parameters
        ----------
        earlier : Architecture
            Of the networks that are trained on.

        Returns
        -------
        architecture : Architecture
            A clone that does not ask.
        """
        return self

    def described_tasks(self, task_names):
        """List tasks of which it knows something though none of their rows.

        Parameters
        ----------
        task_names : sequence
            Tasks of the training.

        Returns
        -------
        names : list
            Others. As row tasks they are numbered behind the number for no task.
        """
        return []

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights. Without it the weights are zero, to be
            loaded.

        Returns
        -------
        module : ArchitectureModule
            Parameters carry the network axis first.
        """
        raise NotImplementedError("abstract method")

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : Architecture
            Itself where its heads are linear in the features; otherwise one that
            holds a whole module of this, and linear heads on its ``readout``.
        """
        return self


class ArchitectureModule(nn.Module):
    """Base class of what ``Architecture.build`` returns.

    Attributes
    ----------
    has_features : bool
        Whether all tasks read one common representation. Weightings that compare
        gradients at the features need it. Where there is none, ``weights`` act on the
        shared parameters by a second backward pass.
    is_chain : bool
        Whether the features are linear banks, each passed once and in order, with
        elementwise functions behind them; inputs may be appended. The gradients of all
        tasks are then a few large products.
    heads : Module
        All that belongs to single tasks; ``adapt`` keeps the rest.
    """

    has_features = True
    is_chain = False

    @property
    def name(self):
        """How messages call it, str."""
        return type(self).__name__.removesuffix("Module")

    @property
    def widest(self):
        """Floats of the widest layer of a row in one network, int."""
        return max(parameter.shape[-1] for parameter in self.parameters())

    @property
    def work(self):
        """Multiply-adds of one row in all networks, forward only, float."""
        weights = sum(
            p.numel() for n, p in self.named_parameters() if n.endswith("weight")
        )
        # Rows of a table are gathered, not multiplied.
        gathered = [m for m in self.modules() if isinstance(m, RowsBank)]
        return float(weights - sum(bank.weight.numel() for bank in gathered))

    def features(self, inputs):
        """Compute the shared representation.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            What the heads read.
        """
        raise NotImplementedError("abstract method")

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            By default those of all tasks. Of row tasks, :meth:`pooled_head` reads them.
        """
        return self.features(inputs)

    def take_trunk(self, other):
        """Copy all but the heads, for new heads on a frozen trunk.

        Parameters
        ----------
        other : ArchitectureModule
            The trunk is that of its ``for_new_heads``.
        """
        tensors = other.state_dict()
        trunk = {n: t for n, t in tensors.items() if not n.startswith("heads.")}
        self.load_state_dict(trunk, strict=False)

    def head(self, features, task=None):
        """Read the outputs off the shared representation.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            The shared representation.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row; ``n_tasks`` for none. Row tasks only.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Column tasks: all heads side by side. Row tasks: those of the row's task.
        """
        raise NotImplementedError("abstract method")

    def forward(self, inputs, task=None):
        """Compute the outputs.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            ``head(features(inputs), task)``.
        """
        return self.head(self.features(inputs), task)

    def shared_parameters(self):
        """List the parameters that every task trains and `weights` act on.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        raise NotImplementedError("abstract method")

    def task_parameters(self):
        """List the parameters that belong to single tasks.

        Returns
        -------
        parameters : list of Parameter
            For column tasks each of shape (n_networks, ..., n_outputs), for row tasks
            of shape (n_networks, n_tasks + 1, ...), the last for no task.
        """
        raise NotImplementedError("abstract method")

    def set_output_bias(self, bias):
        """Start the heads at the best constant prediction.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_outputs)
            From the loss of each task.
        """
        raise NotImplementedError("abstract method")

    def set_linear_head(self, weight, bias):
        """Set the heads of column tasks; ``adapt`` solves for them.

        Parameters
        ----------
        weight : Tensor of shape (n_networks, n_features, n_outputs)
            From features to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        """
        raise NotImplementedError("abstract method")

    def pooled_head(self):
        """Give the head that row tasks share, and how strongly they hold to it.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_features, n_outputs)
            From features to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        shrinkage : Tensor of shape (n_networks,)
            Ridge strength on the deviation of a task.
        """
        raise NotImplementedError("abstract method")

    def pool(self, share, shift):
        """Keep a share of what tells row tasks apart, and move their levels.

        Parameters
        ----------
        share : Tensor of shape (n_networks,)
            Factor on the difference that the task of a row makes to its outputs.
        shift : Tensor of shape (n_networks, n_tasks, n_outputs)
            Added to the outputs of the rows of each task.
        """
        raise NotImplementedError("abstract method")

    def chain(self):
        """List the banks that are all there is to the architecture.

        Returns
        -------
        banks : list of LinearBank or None
            In order, a relu between each two; None where there is more to it.
        """
        return None

    def linear_head(self):
        """Give the matrix by which column tasks read the features, if there is one.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_features, n_outputs) or None
            None when the heads are more than one matrix product; gradients with
            respect to the features then go through autograd.
        """
        return None

    @property
    def n_shared_features(self):
        """Features that shared parameters feed, int or None; they come first.

        Gradients at the features are compared on these; None for all.
        """
        return None

    def note_rows(self, batches):
        """Take note of the rows of training, once, after it.

        Parameters
        ----------
        batches : iterator of (inputs, task)
            Tensors as :meth:`forward` takes them. What nobody asks for is not computed.
        """

    def take_buffers(self, buffers, shape):
        """Take over what training with a network for each task did to the buffers.

        Parameters
        ----------
        buffers : dict of str to Tensor of shape (n_networks * n_tasks, ...)
            By name, as they are after the step.
        shape : tuple of (n_networks, n_tasks)
            How networks and tasks lie in them.
        """

    def penalty(self, share):
        """Compute a regulariser that belongs to no task.

        Parameters
        ----------
        share : callable
            Returns the (n_networks, n_tasks) share of the training weight of each task
            that the batch holds, times batches an epoch, over the training weight of
            all tasks. With row tasks, ``share(by_row=True)`` returns the part that each
            row of the batch has in it, (n_networks, n_rows).

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            Added to the objective; None when there is nothing to add.
        """
        return None
