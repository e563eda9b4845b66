"""The training table as tensors, held once, gathered by network."""

import torch

from ._module import distinct

# Encoded tables below this size are kept; larger ones are encoded batch by batch.
_CACHE_BYTES = 256 * 2**20


class Table:
    """Rows of the data on the training device.

    A row of zeros without weight stands after the last one; padding points at it.

    Parameters
    ----------
    data : TaskData
        Checked data.
    plans : sequence of NetworkPlan
        Name the encoders, target scalings and class weights in use.
    encoder : EncoderBank
        Of the module in training; its encoders are those of the plans.
    device : torch.device
        Where the tensors live.
    dtype : torch.dtype
        Of inputs, targets and weights.
    """

    def __init__(self, data, plans, encoder, device, dtype):
        self.n_rows = len(data.X)
        self.dtype = dtype
        self.encoder = encoder
        self.encoder_index = encoder.index.clone()
        scalings, index = distinct([plan.targets for plan in plans])
        self.target_index = torch.tensor(index, device=device)

        def padded(array, dtype, value=0):
            tensor = torch.as_tensor(array).to(dtype).to(device)
            last = tensor.new_full((1, *tensor.shape[1:]), value)
            return torch.cat([tensor, last])

        # Networks whose cells weigh the same share a table of weights.
        kinds = [(id(p.hyperparameters.class_weights), p.only_column) for p in plans]
        first = {}
        for kind, plan in zip(kinds, plans, strict=True):
            first.setdefault(kind, plan)
        position = {kind: i for i, kind in enumerate(first)}
        index = [position[kind] for kind in kinds]
        tables = [padded(plan.weight(data), dtype) for plan in first.values()]
        self.weights = torch.cat(tables)
        self.weight_index = torch.tensor(index, device=device)
        targets = [padded(scaling.encode(data.y), dtype) for scaling in scalings]
        self.targets = torch.cat(targets)
        self.task = None
        if data.task is not None:
            self.task = padded(data.task, torch.long, len(data.task_names))
        # Rows that are passed on as they are need no better dtype than the networks.
        finest = dtype if encoder.passes_on else encoder.table.dtype
        self.raw = torch.as_tensor(data.X).to(finest).to(device)
        self.raw = torch.cat([self.raw, self.raw.new_zeros(1, self.raw.shape[1])])
        # Padding is of no category, so that no embedding is moved by it.
        self.raw[-1, data.category_columns] = -1
        self._encode_all()

    def _encode_all(self):
        _, n_encoders, width = self.encoder.table.shape
        itemsize = torch.finfo(self.dtype).bits // 8
        self.encoded = None
        if self.encoder.passes_on and n_encoders == 1:
            self.encoded, self.raw = self.raw, None
        elif n_encoders * len(self.raw) * width * itemsize <= _CACHE_BYTES:
            encoded = self.raw.new_zeros(
                n_encoders, len(self.raw), width, dtype=self.dtype
            )
            for e in range(n_encoders):
                encoded[e, :-1] = self.encoder.encode(self.raw[:-1], e)
            self.encoded = encoded.flatten(0, 1)
            self.raw = None

    def take(self, index):
        """Keep some networks.

        Parameters
        ----------
        index : Tensor of int64
            Positions of the networks.
        """
        self.encoder_index = self.encoder_index[index]
        self.target_index = self.target_index[index]
        self.weight_index = self.weight_index[index]

    def inputs(self, rows):
        """Gather encoded rows.

        Parameters
        ----------
        rows : Tensor of shape (..., n_networks, n), int64
            Rows of each network.

        Returns
        -------
        inputs : Tensor of shape (..., n_networks, n, n_inputs)
            By the encoder of each network; padding rows are zero when kept encoded.
        """
        if self.encoded is not None:
            return self._gather(self.encoded, self.encoder_index, rows)
        raw = self.raw.index_select(0, rows.flatten()).view(*rows.shape, -1)
        return self.encoder.encode(raw, self.encoder_index).to(self.dtype)

    def labels(self, rows):
        """Gather targets, weights and tasks.

        Parameters
        ----------
        rows : Tensor of shape (..., n_networks, n), int64
            Rows of each network.

        Returns
        -------
        targets, weights : Tensor of shape (..., n_networks, n, n_columns)
            In the scaling of each network; 0 where a label is missing.
        task : Tensor of shape (..., n_networks, n), int64, or None
            Row tasks; one past the last for padding.
        """
        targets = self._gather(self.targets, self.target_index, rows)
        weights = self._gather(self.weights, self.weight_index, rows)
        if self.task is None:
            return targets, weights, None
        task = self.task.index_select(0, rows.flatten()).view(rows.shape)
        return targets, weights, task

    def _gather(self, stacked, index, rows):
        flat = rows + (index * (self.n_rows + 1)).unsqueeze(-1)
        return stacked.index_select(0, flat.flatten()).view(*rows.shape, -1)
