"""AdamW with a learning rate, a decay and a step count for each network."""

import math
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import hardshrink
from torch.optim.adamw import adamw

from .._bank import RowsBank

# Steps between two looks for moments that are about to leave the range of normal
# numbers; 0.9 to this power is 1e-6, less than the margin below takes.
_FLUSH_EVERY = 128
_FLUSH_MARGIN = 1e8


class BankAdamW(torch.optim.Optimizer):
    r"""AdamW over parameters whose first axis is the network.

    Networks are independent: each has its learning rate, its decay and its own count
    of steps, and may rest while others step. When all agree, torch's fused kernel
    does the work. ``group["lr"]`` is a multiplier, 1 at first, for schedulers.

    Parameters
    ----------
    params : iterable of dict
        Groups. ``decay`` says whether weight decay acts on the group. A group with
        ``rows``, a :class:`~skmtl._bank.RowsBank`, is updated lazily: moments and
        steps advance for rows that the batch touched, and no others.
    rates, decays : Tensor of shape (n_networks,)
        Learning rate and weight decay of each network.
    betas : tuple of float, default=(0.9, 0.999)
        Decay rates of the moments.
    eps : float, default=1e-8
        Added to the root of the second moment.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter (2019). Decoupled Weight Decay Regularization.
       ICLR, algorithm 2. https://arxiv.org/abs/1711.05101
    """

    def __init__(self, params, rates, decays, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, {"lr": 1.0, "decay": True, "rows": None})
        self.betas = betas
        self.eps = eps
        self.rates = rates.cpu().double().numpy().copy()
        self.decays = decays.cpu().double().numpy().copy()
        self.schedule = np.ones(len(self.rates))
        self.n_steps = np.zeros(len(self.rates), int)
        self._steps = {}
        self._rates_of_rows = {}
        self.param_groups = [g for g in self.param_groups if g["params"]]

    def take(self, parameters, index):
        """Keep some networks, in place, so that schedulers stay attached.

        Parameters
        ----------
        parameters : dict
            From each parameter held now to the one that replaces it.
        index : ndarray of int
            Positions of the networks to keep.
        """
        for name in ("rates", "decays", "schedule", "n_steps"):
            setattr(self, name, getattr(self, name)[index])
        rows = torch.as_tensor(index)
        self._steps.clear()
        self._rates_of_rows.clear()
        for group in self.param_groups:
            group["params"] = [parameters[p] for p in group["params"]]
        for old, new in parameters.items():
            state = self.state.pop(old, None)
            if state is not None:
                self.state[new] = {
                    name: tensor.index_select(0, rows.to(tensor.device))
                    if tensor.ndim
                    else tensor
                    for name, tensor in state.items()
                }

    def state_dict(self):
        """Give step counts, moments and the schedulers' settings.

        Returns
        -------
        state : dict
            Copies on the CPU. Rates and decays are not in it: they are settings.
        """
        return {
            "n_steps": self.n_steps.tolist(),
            "groups": [
                {name: group[name] for name in group if name not in ("params", "rows")}
                for group in self.param_groups
            ],
            "moments": [
                {name: t.cpu().clone() for name, t in self.state.get(p, {}).items()}
                for group in self.param_groups
                for p in group["params"]
            ],
        }

    def moments(self, index):
        """Give the state of some networks, without torch objects.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.

        Returns
        -------
        state : dict
            Arrays and plain Python, for :meth:`load_state_dict`.
        """
        state = self.state_dict()
        return {
            "n_steps": [state["n_steps"][k] for k in index],
            "groups": state["groups"],
            "moments": [
                {name: t.numpy()[list(index)] for name, t in moments.items()}
                for moments in state["moments"]
            ],
        }

    def load_state_dict(self, state_dict):
        """Go on where another optimizer of the same parameters was.

        Parameters
        ----------
        state_dict : dict
            From :meth:`state_dict`; moments may be arrays.
        """
        self.n_steps = np.array(state_dict["n_steps"], int)
        parameters = [p for group in self.param_groups for p in group["params"]]
        pairs = zip(self.param_groups, state_dict["groups"], strict=True)
        for group, settings in pairs:
            group.update(settings)
        for p, moments in zip(parameters, state_dict["moments"], strict=True):
            self.state[p] = {
                name: torch.as_tensor(moment).to(p.device, p.dtype, copy=True)
                for name, moment in moments.items()
            }

    @torch.no_grad()
    def step(self, closure=None, *, active=None):
        """Update all parameters.

        Parameters
        ----------
        closure : None
            Not supported; here for torch's interface.
        active : Tensor of shape (n_networks,), bool, optional
            Networks that step; by default all. The others keep parameters, moments and
            step count.
        """
        self.update(active)

    @torch.no_grad()
    def update(self, active=None):
        """Do the work of :meth:`step` without the hooks that torch wraps around it.

        Parameters
        ----------
        active : Tensor of shape (n_networks,), bool, optional
            Networks that step.
        """
        before = self.n_steps
        self.n_steps = before + (True if active is None else active.cpu().numpy())
        dense = [g for g in self.param_groups if g["rows"] is None]
        if active is None and self._agree(before):
            self._step_alike(dense, int(before[0]))
        else:
            self._step_each(dense, active)
        for group in self.param_groups:
            if group["rows"] is not None:
                self._step_rows(group, group["rows"])
        if self.n_steps.max() % _FLUSH_EVERY == 0:
            self._flush(dense)

    def _flush(self, groups):
        """Set moments to zero that have decayed to nothing.

        The moments of a unit that is dead shrink at every step. Numbers too small to be
        normal cost a CPU ten times as long as others, and move no parameter.
        """
        for moments in (self.state.get(p, {}) for g in groups for p in g["params"]):
            for moment in moments.values():
                least = torch.finfo(moment.dtype).tiny * _FLUSH_MARGIN
                moment.copy_(hardshrink(moment, least))

    def _agree(self, n_steps):
        if len(n_steps) == 1:
            return True
        values = (n_steps, self.rates, self.decays, self.schedule)
        return all((v == v[0]).all() for v in values)

    def _moments(self, parameter):
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state["exp_avg"], state["exp_avg_sq"]

    def _step_alike(self, groups, n_steps):
        rates = [float(g["lr"] * self.schedule[0] * self.rates[0]) for g in groups]
        if len(set(rates)) > 1:
            # Somebody scheduled the groups apart: one call of the kernel for each.
            for group in groups:
                self._step_alike([group], n_steps)
            return
        for group, rate in zip(groups, rates, strict=True):
            decay = rate * float(self.decays[0]) if group["decay"] else 0.0
            if decay:
                # The first line of AdamW; it lets all groups share one kernel call.
                moving = [p for p in group["params"] if p.grad is not None]
                if moving:
                    torch._foreach_mul_(moving, 1 - decay)
        parameters = [p for g in groups for p in g["params"] if p.grad is not None]
        if parameters:
            tensors = self._tensors(parameters, parameters)
            self._fused(tensors, n_steps, rates[0])

    def _step_each(self, groups, active):
        """Take steps of length one next to the parameters, then scale them.

        The kernel has one rate and one count for all that it is given: networks that
        agree on the count go through it together, and rates come afterwards.
        """
        moving = [(p, g) for g in groups for p in g["params"] if p.grad is not None]
        if not moving:
            return
        parameters = [p for p, _ in moving]
        steps = [self._step_from_zero(p) for p in parameters]
        tensors = self._tensors(steps, parameters)
        for start, stop, before in _runs(self.n_steps, active):
            run = tensors
            if stop - start < len(self.n_steps):
                run = [[t[start:stop] for t in kind] for kind in tensors]
            self._fused(run, before, 1.0)
        stepping = 1.0 if active is None else active.cpu().numpy()
        for (p, group), step in zip(moving, steps, strict=True):
            shape = (-1, *[1] * (p.ndim - 1))
            rates = stepping * group["lr"] * self.schedule * self.rates
            if group["decay"] and self.decays.any():
                p.mul_(_like(1 - rates * self.decays, p).view(shape))
            p.addcmul_(_like(rates, p).view(shape), step)

    def _step_from_zero(self, parameter):
        step = self._steps.get(parameter)
        if step is None or step.shape != parameter.shape:
            step = self._steps[parameter] = torch.empty_like(
                parameter, memory_format=torch.contiguous_format
            )
        return step.zero_()

    def _tensors(self, moved, parameters):
        moments = [self._moments(p) for p in parameters]
        return [
            moved,
            # The fused kernel reads memory in order, whatever the strides say.
            [p.grad.contiguous() for p in parameters],
            [first for first, _ in moments],
            [second for _, second in moments],
        ]

    def _fused(self, tensors, before, rate):
        device = tensors[0][0].device
        # The kernel adds the step that it takes; each call gets fresh counts from ours.
        count = torch.full((len(tensors[0]),), float(before), device=device)
        adamw(
            *tensors,
            [],
            list(count.unbind()),
            fused=device.type in ("cpu", "cuda"),
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=rate,
            weight_decay=0.0,
            eps=self.eps,
            maximize=False,
        )

    def _step_rows(self, group, rows):
        """Update the rows that the batch touched, each by its own step count.

        The second moment is one number a row, the mean over its columns, and there is
        no first moment: between two visits of a task it would only grow stale. Next to
        it stands what the same average makes of ones, by which its start at zero is
        corrected.
        """
        if rows.selected is None:
            return
        ids, leaf = rows.selected
        rows.selected = None
        (p,) = group["params"]
        n_networks, n_slots, n_columns = p.shape
        state = self.state[p]
        if not state:
            state["row_averages"] = p.new_zeros(n_networks, n_slots, 2)
        gradient = leaf.grad.view(-1, n_columns)
        gradient = _sum_by_id(gradient, ids, n_networks * n_slots).view(leaf.shape)
        new = gradient.new_ones(*gradient.shape[:-1], 2)
        torch.sum(gradient.square(), dim=-1, out=new[..., 0])
        averages = state["row_averages"].view(-1, 2)
        flat = new.view(-1, 2).lerp_(averages.index_select(0, ids), self.betas[1])
        averages.index_copy_(0, ids, flat)
        square, ones = new.unbind(-1)
        rate, eps = self._rates_for(group, rows)
        size = rate / (square.div_(ones).sqrt_() + eps)
        moved = torch.addcmul(leaf, gradient, size.unsqueeze(-1), value=-1)
        p.view(-1, n_columns).index_copy_(0, ids, moved.view(-1, n_columns))

    def _rates_for(self, group, rows):
        """Give rates and eps for the norm of a row, from those for the root mean."""
        lr, schedule, *found = self._rates_of_rows.get(rows, (None, None))
        if lr != group["lr"] or schedule is not self.schedule:
            root = rows.widths.sqrt()
            rates = rows.speed * group["lr"] * self.schedule * self.rates
            rate = _like(rates, root) * root
            found = rate.unsqueeze(-1), (self.eps * root).unsqueeze(-1)
            self._rates_of_rows[rows] = group["lr"], self.schedule, *found
        return found


class BankSGD(BankAdamW):
    """Plain gradient descent with a rate a network, without any moment.

    Rows of a RowsBank are updated as by :class:`BankAdamW`, whose steps have a length
    of their own, at a thousandth of the rate.
    """

    def _step_rows(self, group, rows):
        super()._step_rows({**group, "lr": 1e-3 * group["lr"]}, rows)

    def _step_alike(self, groups, n_steps):
        self._step_each(groups, None)

    def _step_each(self, groups, active):
        stepping = 1.0 if active is None else active.cpu().numpy()
        for group in groups:
            rates = stepping * group["lr"] * self.schedule * self.rates
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(_like(rates, p).view(-1, *[1] * (p.ndim - 1)) * p.grad)


def _sum_by_id(rows, ids, n_ids):
    """Give each row the sum of all rows that have its id."""
    # They agree on the place of one of them, whichever.
    place = torch.arange(len(ids), device=ids.device)
    place = ids.new_empty(n_ids).scatter_(0, ids, place).index_select(0, ids)
    return torch.zeros_like(rows).index_add_(0, place, rows).index_select(0, place)


def _like(values, parameter):
    """Give one number a network in the dtype and on the device of a parameter."""
    return torch.as_tensor(values).to(parameter.dtype).to(parameter.device)


def _runs(n_steps, active):
    """List (start, stop, steps before) of networks side by side that step alike."""
    if active is not None:
        n_steps = np.where(active.cpu().numpy(), n_steps, 0)
    edges = np.flatnonzero(np.diff(n_steps)) + 1
    edges = [0, *edges.tolist(), len(n_steps)]
    return [
        (start, stop, int(n_steps[start]) - 1)
        for start, stop in pairwise(edges)
        if n_steps[start]
    ]


def bank_optimizer(module, plans):
    """Make the optimizer of a bank, with the groups that its parameters fall into.

    Parameters
    ----------
    module : BankModule
        Weights of the architecture decay; rows of a RowsBank are updated lazily.
    plans : sequence of NetworkPlan
        One a network; name rates and decays.

    Returns
    -------
    optimizer : BankAdamW
        Of all parameters.
    """
    decayed, free, lazy = [], [], []
    # Gradients at the parameters are compared in full, without rows left out.
    dense = set()
    if module.weighting.gradients == "parameters":
        dense = set(module.embedding.modules())
    rows = [part for part in module.modules() if isinstance(part, RowsBank)]
    for bank in rows:
        if bank in dense:
            free.append(bank.weight)
        else:
            bank.lazy = True
            lazy.append({"params": [bank.weight], "decay": False, "rows": bank})
    in_rows = {id(bank.weight) for bank in rows}
    for part in (module.embedding, module.architecture):
        for name, parameter in part.named_parameters():
            if id(parameter) not in in_rows:
                (decayed if name.endswith("weight") else free).append(parameter)
    free += module.undecayed_parameters()
    groups = [{"params": decayed}, {"params": free, "decay": False}, *lazy]
    choices = [plan.hyperparameters for plan in plans]
    return module.optimizer_class(
        [group for group in groups if group["params"]],
        torch.tensor([c.lr for c in choices], dtype=torch.float64),
        torch.tensor([c.weight_decay for c in choices], dtype=torch.float64),
    )


def clip_limits(plans, like):
    """Read the largest gradient norm of each network.

    Parameters
    ----------
    plans : sequence of NetworkPlan
        One a network.
    like : Tensor
        Its device and dtype are those of the limits.

    Returns
    -------
    limits : Tensor of shape (n_networks,) or None
        Infinite for networks that are not clipped; None when none is.
    """
    limits = [plan.hyperparameters.clip_norm for plan in plans]
    if all(limit is None for limit in limits):
        return None
    return like.new_tensor([math.inf if n is None else n for n in limits])


def clip_by_network(parameters, limits):
    """Scale the gradients of each network to a largest norm.

    A network whose gradient is not finite has no say in the others' scale.

    Parameters
    ----------
    parameters : sequence of Parameter of shape (n_networks, ...)
        Their gradients are scaled in place.
    limits : Tensor of shape (n_networks,)
        Largest norms; infinite for none.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if len(limits) == 1:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (limits[0] / (norm + 1e-6)).clamp(max=1.0))
        return
    norms = torch.stack(
        [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
    )
    scale = (limits / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
