"""Predictions of tasks, adapted when they are asked for, as banks."""

import numpy as np
import torch

from .._net import threads_for

# Floats of the weights, and of the widest layer, of the tasks adapted at a time.
_FLOATS = 2**22
# Gradients keep about so many layers of a row.
_LAYERS = 8


class TaskPredictor:
    """Adapt the networks of a net to tasks, and predict with them.

    Parameters
    ----------
    net : EpisodicNet
        Fitted.
    known : KnownTasks
        The tasks.
    task_chunk_size : int or None
        Tasks adapted at a time, at most.
    options : dict
        For ``LearnerModule.adapt``.
    want_variance : bool, default=False
        Whether to compute variances, too.
    """

    def __init__(self, net, known, task_chunk_size, options, want_variance=False):
        self.module = net.module_.eval()
        self.known = known
        self.task_chunk_size = task_chunk_size
        self.options = options
        self.want_variance = want_variance
        self._parameter = next(self.module.architecture.parameters())
        self.n_networks = len(self._parameter)

    def predict(self, table, codes):
        """Predict every row by its own task.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.
        codes : ndarray of shape (n_rows,), int
            Positions of the rows' tasks; -1 for a task that is not known.

        Returns
        -------
        predictions : ndarray of shape (n_rows, n_predictions), float64
            Means over networks: scaled numbers, or probabilities of the classes of
            the encoder.
        variances : ndarray of shape (n_rows, n_columns) or None
            Of labels around them, in squared units of the scaled labels.
        """
        order = np.argsort(codes, kind="stable")
        tasks, starts, counts = np.unique(
            codes[order], return_index=True, return_counts=True
        )
        found = _Collected(len(table))
        # Tasks of about one size stand together, so that little is padding.
        for chunk in self._chunks(tasks):
            rows = [
                order[s : s + n]
                for s, n in zip(starts[chunk], counts[chunk], strict=True)
            ]
            state = self._adapted(tasks[chunk])
            self._predict_rows(table, tasks[chunk], rows, state, found)
        return found.predictions, found.variances

    def predict_all(self, table):
        """Predict every row by every task.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.

        Returns
        -------
        predictions, variances : list of ndarray of shape (n_rows, n_predictions)
            By task; see :meth:`predict`.
        """
        found = [
            self.predict(table, np.full(len(table), task))
            for task in range(self.known.pool.n_tasks)
        ]
        return [p for p, _ in found], [v for _, v in found]

    # -- adapting ----------------------------------------------------------------

    def _chunks(self, tasks):
        """Cut tasks into lots that fit, as positions; unknown ones come alone."""
        sizes = np.diff(self.known.pool.starts)[tasks]
        sizes[tasks < 0] = 0
        by_size = np.argsort(sizes, kind="stable")
        if (tasks < 0).any():
            unknown = np.flatnonzero(tasks < 0)
            yield unknown
            by_size = by_size[~np.isin(by_size, unknown)]
        architecture = self.module.architecture
        weights = sum(p[0].numel() for p in architecture.parameters())
        start = 0
        while start < len(by_size):
            stop = start + 1
            most = self.task_chunk_size or len(by_size)
            while stop < len(by_size) and stop - start < most:
                one = weights + sizes[by_size[stop]] * architecture.widest * _LAYERS
                if (stop - start + 1) * one * self.n_networks > _FLOATS:
                    break
                stop += 1
            yield by_size[start:stop]
            start = stop

    def _adapted(self, tasks):
        """Adapt to some tasks; without rows to an unknown one."""
        known = self.known
        if tasks[0] < 0 and not known.novel:
            entries = np.full((1, 1), len(known.pool))
        elif tasks[0] < 0:
            known = known.as_one
            entries = known.pool.entries_of(np.array([0]))
        else:
            entries = known.pool.entries_of(tasks)
        targets, weights = known.labels(entries)
        rows = np.append(known.pool.rows, 0)[entries]
        inputs = encoded_rows(self.module, known.data.X, rows)
        targets, weights = self._tensor(targets), self._tensor(weights)
        shape = (self.n_networks, *targets.shape)
        learner = self.module.learner
        work = 3.0 * self.module.architecture.work * entries.shape[1]
        with threads_for(work), torch.no_grad():
            return learner.adapt(
                self.module,
                inputs,
                targets.expand(shape),
                weights.expand(shape),
                **self.options,
            )

    def _tensor(self, array):
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self._parameter.dtype).to(self._parameter.device)

    # -- predicting --------------------------------------------------------------

    def _predict_rows(self, table, tasks, rows, state, found):
        """Run the adapted networks of some tasks on their rows, some at a time."""
        longest = max(map(len, rows))
        widest = self.module.architecture.widest * self.n_networks * len(tasks)
        chunk = max(64, _FLOATS // widest)
        for start in range(0, longest, chunk):
            part = [own[start : start + chunk] for own in rows]
            n_rows = max(map(len, part))
            padded = np.zeros((len(part), n_rows), int)
            for own, line in zip(part, padded, strict=True):
                line[: len(own)] = own
            inputs = encoded_rows(self.module, table, padded)
            with torch.no_grad():
                means, variances = self._mixture(state, inputs)
            means = self._by_class(tasks, means)
            for k, own in enumerate(part):
                found.put(
                    own,
                    means[k, : len(own)],
                    None if variances is None else variances[k, : len(own)],
                )

    def _mixture(self, state, inputs):
        """Average the predictions of the networks, and their spread."""
        module, learner = self.module, self.module.learner
        each = learner.predictions(module, learner.outputs(module, state, inputs))
        means, variances = each.mean(0), None
        if self.want_variance:
            variances = learner.variances(module, state, inputs).mean(0)
            variances = variances + each.var(0, correction=0)
            variances = variances.cpu().double().numpy()
        return means.cpu().double().numpy(), variances

    def _by_class(self, tasks, probabilities):
        """Put the probabilities of slots at the classes that are in them."""
        if not self.known.novel:
            return probabilities
        known = self.known.as_one if tasks[0] < 0 else self.known
        slots = known.slots[np.maximum(tasks, 0)]
        n_classes = max(self.known.data.encoder.n_classes)
        found = np.zeros((*probabilities.shape[:2], n_classes))
        for k, own in enumerate(slots):
            own = own[own >= 0]
            proba = probabilities[k][:, : len(own)]
            found[k][:, own] = proba / proba.sum(axis=1, keepdims=True)
        return found


class _Collected:
    """Predictions of rows, put together from parts."""

    def __init__(self, n_rows):
        self.n_rows = n_rows
        self.predictions = self.variances = None

    def put(self, rows, predictions, variances):
        """Put the predictions of some rows where they belong."""
        if self.predictions is None:
            self.predictions = np.empty((self.n_rows, predictions.shape[1]))
            if variances is not None:
                self.variances = np.empty((self.n_rows, variances.shape[1]))
        self.predictions[rows] = predictions
        if variances is not None:
            self.variances[rows] = variances


def places_of(net, table):
    """Place rows in the space that networks have learned.

    Parameters
    ----------
    net : EpisodicNet
        Fitted; its learner compares rows in a space.
    table : ndarray of shape (n_rows, n_features)
        Raw rows.

    Returns
    -------
    places : ndarray of shape (n_networks, n_rows, n_dimensions), float64
        By network.
    """
    module = net.module_.eval()
    n_networks = len(next(module.architecture.parameters()))
    chunk = max(64, _FLOATS // (module.architecture.widest * n_networks))
    parts = []
    for start in range(0, len(table), chunk):
        part = table[start : start + chunk]
        inputs = encoded_rows(module, part, np.arange(len(part))[None])
        with torch.no_grad():
            places = module.learner.embed(module, inputs)[:, 0]
        parts.append(places.cpu().double().numpy())
    return np.concatenate(parts, axis=1)


@torch.no_grad()
def encoded_rows(module, table, rows):
    """Encode the rows of tasks.

    Parameters
    ----------
    module : EpisodicModule
        Its encoder and embedding.
    table : ndarray of shape (n_samples, n_features)
        Raw rows.
    rows : ndarray of shape (n_tasks, n_rows), int
        Which ones, by task.

    Returns
    -------
    inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
        Each row of the table is encoded once.
    """
    used, index = np.unique(rows, return_inverse=True)
    parameter = next(module.architecture.parameters())
    raw = torch.tensor(np.ascontiguousarray(table[used]))
    raw = raw.to(module.encoder.table.dtype).to(parameter.device)
    encoded = module.embedding(module.encoder(raw).to(parameter.dtype))
    index = torch.from_numpy(index.reshape(rows.shape)).to(raw.device)
    return encoded[:, index].expand(len(parameter), -1, -1, -1)
