"""Gradients of linear banks with a relu between each two, written out twice."""

import torch

# What autograd calls for a relu; torch has no other name for it.
_relu_backward = torch.ops.aten.threshold_backward.default


class ChainPasses:
    """One pass forwards and one backwards, kept for the derivative of both.

    Parameters
    ----------
    slope_of : callable
        From outputs to the derivative of the loss, a WrittenSlope or GraphSlope.
    inputs : Tensor of shape (n_networks, n_rows, n_inputs)
        Of the first bank.
    tensors : sequence of Tensor
        Weight and bias of each bank, in turn.

    Attributes
    ----------
    outputs : Tensor of shape (n_networks, n_rows, n_outputs)
        Of the last bank.
    """

    def __init__(self, slope_of, inputs, tensors):
        self.weights = tensors[::2]
        self.inputs, self.outputs = forward_pass(inputs, tensors)
        self.slope = slope_of(self.outputs)
        self.slopes = self._backward_pass(self.slope.value)

    def _backward_pass(self, slope):
        """Find the derivatives of the loss by what each bank gives."""
        slopes = [slope]
        for weight, hidden in zip(self.weights[:0:-1], self.inputs[:0:-1], strict=True):
            slopes.append(through_relu(torch.bmm(slopes[-1], weight.mT), hidden))
        return slopes[::-1]

    def gradients(self):
        """Find the derivatives of the loss by weights and biases.

        Returns
        -------
        gradients : list of Tensor
            In the shapes of the tensors.
        """
        found = []
        for hidden, slope in zip(self.inputs, self.slopes, strict=True):
            found += [torch.bmm(hidden.mT, slope), slope.sum(1, keepdim=True)]
        return found

    def curve(self, directions):
        """Find the derivatives of the gradients when the tensors move.

        The product of the Hessian and a vector, by another pass forwards and one
        backwards [1]_.

        Parameters
        ----------
        directions : sequence of Tensor
            In the shapes of the tensors.

        Returns
        -------
        products : list of Tensor
            In the shapes of the tensors.

        References
        ----------
        .. [1] B. A. Pearlmutter (1994). Fast Exact Multiplication by the Hessian.
           Neural Computation 6, 147-160.
        """
        turns = self._turns(directions)
        bend = self.slope.bend(turns.pop())
        found = []
        for i in reversed(range(len(self.weights))):
            product = torch.bmm(self.inputs[i].mT, bend)
            found += [bend.sum(1, keepdim=True), product]
            if i:
                product.baddbmm_(turns[i].mT, self.slopes[i])
                bend = torch.bmm(bend, self.weights[i].mT)
                bend.baddbmm_(self.slopes[i], directions[2 * i].mT)
                bend = through_relu(bend, self.inputs[i])
        return found[::-1]

    def _turns(self, directions):
        """Say how the inputs of each bank, and the outputs, move."""
        turns = [None]
        for i, weight in enumerate(self.weights):
            turn = torch.baddbmm(
                directions[2 * i + 1], self.inputs[i], directions[2 * i]
            )
            if i:
                turn.baddbmm_(turns[i], weight)
            if i + 1 < len(self.inputs):
                turn = through_relu(turn, self.inputs[i + 1])
            turns.append(turn)
        return turns


def forward_pass(inputs, tensors):
    """Run the banks.

    Parameters
    ----------
    inputs : Tensor of shape (n_networks, n_rows, n_inputs)
        Of the first bank.
    tensors : sequence of Tensor
        Weight and bias of each bank, in turn.

    Returns
    -------
    inputs : list of Tensor of shape (n_networks, n_rows, n_in)
        Of each bank.
    outputs : Tensor of shape (n_networks, n_rows, n_outputs)
        Of the last.
    """
    found = [inputs]
    for weight, bias in zip(tensors[::2], tensors[1::2], strict=True):
        found.append(torch.baddbmm(bias, found[-1], weight))
        if len(found) <= len(tensors) // 2:
            found[-1].relu_()
    return found[:-1], found[-1]


def through_relu(slope, hidden):
    """Pass on a derivative where the relu does.

    Parameters
    ----------
    slope : Tensor of shape (n_networks, n_rows, n_hidden)
        By what comes out of it.
    hidden : Tensor of shape (n_networks, n_rows, n_hidden)
        What came out of it.

    Returns
    -------
    slope : Tensor of shape (n_networks, n_rows, n_hidden)
        By what goes into it.
    """
    return _relu_backward(slope, hidden, 0)
