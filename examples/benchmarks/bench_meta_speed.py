"""Measure what a step of meta-learning costs when all tasks are one bank.

Question
--------
MAML differentiates through the learning of every task. The usual code loops over the
tasks in Python; torch can also map over them with vmap. How much faster is a bank of
networks, with all the comfort of an estimator around it?

Setting
-------
The sinusoids of MAML, 25 tasks a step, 10 support and 10 query rows, 1-40-40-1 with
relu, second order, Adam, at 1 and 5 inner steps.

ours
    ``MAMLRegressor.fit``: checks, sampling, gathering, encoding, inner steps, clipping
    task by task, optimizer, history. The time of a step is that of a long fit less that
    of a short one, over the steps between; both have equally many epochs.
loop
    In the manner of learn2learn: for each task copy the parameters, take gradient steps
    with ``create_graph``, run the network by ``functional_call``, add up the losses;
    then one backward pass and a step of fused Adam. Episodes lie ready as tensors.
bare loop
    The same with the layers called by hand; for information.
vmap
    ``torch.func.vmap`` over tasks of ``torch.func.grad``, everything else as in the
    loop.
fit
    A whole fit of 1,000 steps, set-up and history included, without and with the
    held-out tasks that choose the best iteration; for information.
tasks
    Our step at 25 to 400 tasks, as a multiple of its time at 25 when every task costs
    the same.
memory
    What a fit with 400 tasks a step adds to the peak memory of its process, with
    ``task_chunk_size=25`` against without; the same for a prediction of 2,000 tasks.
adapt
    ``adapt`` and ``predict`` for 1,000 tasks of 10 rows, against one task. Both are
    timed together, as models are computed when they are asked for.

Before anything is timed, the meta-gradients of all sides are compared in float64 on one
batch. Everything runs in one process, in turn, with one thread, which is what a fit of
this size uses; memory in processes of its own. Where there is a GPU, the first lines
are measured there, too.

Reading
-------
Each number is the median of the ratios of neighbouring runs; the range over the runs
stands beside it. The floor is asserted at the end.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _report import print_setting, print_table
from bench_throughput import Line, peak_memory, seconds
from torch import nn
from torch.func import functional_call, grad, vmap

HERE = str(Path(__file__).resolve().parent)

N_TASKS = 25
N_ROWS = 10
INNER_LR = 0.01
LR = 1e-3
# How many times faster: floor and stretch, by inner steps.
BARS = {"loop": {1: (10, 15), 5: (14, 22)}, "vmap": {1: (1.5, 2.2), 5: (1.5, 2.2)}}
# Steps of the short fit: one an epoch.
N_EPOCHS = 50


# Data and estimator.


def make_sinusoids(n_tasks, n_samples=4 * N_ROWS, seed=0):
    """Draw sinusoids; the last column is the task."""
    from skmtl.datasets import make_sinusoid_tasks

    X, y, task = make_sinusoid_tasks(n_tasks, n_samples, random_state=seed)
    return np.column_stack([X, task]), y


def make_maml(n_inner_steps, max_iter, **params):
    """Build our regressor for tables of :func:`make_sinusoids`."""
    from skmtl import MAMLRegressor
    from skmtl.architecture import HardSharing
    from skmtl.encoding import Standard

    fixed = {"early_stopping": False, "device": "cpu", "random_state": 0}
    fixed |= {"architecture": HardSharing((40, 40)), "meta_batch_size": N_TASKS}
    return MAMLRegressor(
        encoding=Standard(),
        task_column=1,
        inner_lr=INNER_LR,
        n_inner_steps=n_inner_steps,
        n_support=N_ROWS,
        n_query=N_ROWS,
        lr=LR,
        max_iter=max_iter,
        **(fixed | params),
    )


def step_seconds(table, n_inner_steps, n_steps, **params):
    """Seconds of one step of a fit, all of it but what a fit does once."""
    short = make_maml(n_inner_steps, N_EPOCHS, **params)
    long = make_maml(n_inner_steps, N_EPOCHS + n_steps, **params)
    before = seconds(lambda: short.fit(*table))
    return (seconds(lambda: long.fit(*table)) - before) / n_steps


# The references.


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1)
    )


def make_batch(device="cpu", dtype=torch.float32):
    """Draw support inputs, targets, query inputs and targets of 25 tasks."""
    generator = torch.Generator().manual_seed(0)
    amplitude = 0.1 + 4.9 * torch.rand(N_TASKS, 1, 1, generator=generator)
    phase = np.pi * torch.rand(N_TASKS, 1, 1, generator=generator)
    inputs = 10 * torch.rand(N_TASKS, 2 * N_ROWS, 1, generator=generator) - 5
    targets = amplitude * (inputs - phase).sin()
    parts = [*zip(inputs.split(N_ROWS, 1), targets.split(N_ROWS, 1), strict=True)]
    return [part.to(device, dtype) for pair in parts for part in pair]


def call_module(network, weights, inputs):
    return functional_call(network, weights, (inputs,))


def call_layers(network, weights, inputs):
    """Compute the network of :func:`make_network` with nothing in between."""
    w = list(weights.values())
    hidden = nn.functional.linear(inputs, w[0], w[1]).relu()
    hidden = nn.functional.linear(hidden, w[2], w[3]).relu()
    return nn.functional.linear(hidden, w[4], w[5])


def loop_loss(network, batch, n_inner_steps, call):
    """Go through the tasks one by one."""
    mse, total = nn.functional.mse_loss, 0.0
    for x, y, x_query, y_query in zip(*batch, strict=True):
        weights = {name: p.clone() for name, p in network.named_parameters()}
        for _ in range(n_inner_steps):
            loss = mse(call(network, weights, x), y)
            slopes = torch.autograd.grad(
                loss, list(weights.values()), create_graph=True
            )
            pairs = zip(weights.items(), slopes, strict=True)
            weights = {name: w - INNER_LR * slope for (name, w), slope in pairs}
        total = total + mse(call(network, weights, x_query), y_query)
    return total / len(batch[0])


def vmap_loss(network, batch, n_inner_steps):
    """Map over the tasks."""
    start = dict(network.named_parameters())

    def loss(weights, x, y):
        return nn.functional.mse_loss(functional_call(network, weights, (x,)), y)

    def task_loss(x, y, x_query, y_query):
        weights = start
        for _ in range(n_inner_steps):
            slopes = grad(loss)(weights, x, y)
            weights = {n: w - INNER_LR * slopes[n] for n, w in weights.items()}
        return loss(weights, x_query, y_query)

    return vmap(task_loss)(*batch).mean()


LOSSES = {
    "loop": partial(loop_loss, call=call_module),
    "bare loop": partial(loop_loss, call=call_layers),
    "vmap": vmap_loss,
}


def make_reference(loss, n_inner_steps, device):
    """Return a function that takes one step of Adam."""
    network = make_network().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, fused=True)
    batch = make_batch(device)

    def step():
        optimizer.zero_grad()
        loss(network, batch, n_inner_steps).backward()
        optimizer.step()

    return step


# All sides compute the same.


def check_gradients(n_inner_steps):
    """Compare the meta-gradients of all sides on one batch, in float64."""
    batch = make_batch(dtype=torch.float64)
    network = make_network().double()
    expected = None
    for name, loss in LOSSES.items():
        network.zero_grad()
        loss(network, batch, n_inner_steps).backward()
        found = [p.grad.clone() for p in network.parameters()]
        expected = found if expected is None else expected
        assert all(map(torch.allclose, found, expected)), name
    ours = our_gradient(network, batch, n_inner_steps)
    assert all(map(torch.allclose, ours, expected)), "ours"


def our_gradient(network, batch, n_inner_steps):
    """Put the weights of the reference into a fitted estimator; take its gradient."""
    from skmtl._net._episodes import Episodes

    model = make_maml(n_inner_steps, 1, dtype="float64", clip_norm=None)
    module = model.fit(*make_sinusoids(N_TASKS)).net_.module_.train()
    module.zero_grad()
    ours = list(module.architecture.parameters())
    for p, q in zip(ours, network.parameters(), strict=True):
        # A bank multiplies from the right, and its network axis comes first.
        p.data.copy_(q.data.T[None] if q.ndim == 2 else q.data[None, None])
    x, y, x_query, y_query = batch
    inputs, targets = torch.cat([x, x_query], 1)[None], torch.cat([y, y_query], 1)[None]
    tasks = torch.arange(N_TASKS)[None]
    episodes = Episodes(inputs, targets, torch.ones_like(targets), N_ROWS, tasks)
    module.learner.backward(module, episodes, progress=1.0, share=1 / N_TASKS)
    pairs = zip(ours, network.parameters(), strict=True)
    return [p.grad[0].T if q.ndim == 2 else p.grad[0, 0] for p, q in pairs]


# The lines.


def compare_steps(n_repeats, n_steps, device):
    """Time a step of every side, in turn."""
    table = make_sinusoids(200)
    for n_inner_steps in (1, 5):
        n_ours = n_steps // (1 if n_inner_steps == 1 else 2)
        sides = {
            "ours": partial(step_seconds, table, n_inner_steps, n_ours, device=device)
        }
        for name, loss in LOSSES.items():
            step = make_reference(loss, n_inner_steps, device)
            n_calls = 50 if name == "vmap" else 8
            sides[name] = partial(mean_seconds, step, n_calls, device)
        times = in_turn(sides, n_repeats)
        on = "" if device == "cpu" else f" on {device}"
        for name in LOSSES:
            floor, stretch = BARS.get(name, {}).get(n_inner_steps, (None, None))
            if device != "cpu":
                floor = stretch = None
            yield Line(
                f"{n_inner_steps} inner step(s) / {name}{on}, ms",
                1e3 * median(times["ours"]),
                1e3 * median(times[name]),
                list(times[name] / times["ours"]),
                floor,
                stretch,
                "times faster",
            )


def mean_seconds(step, n_calls, device):
    def work():
        for _ in range(n_calls):
            step()
        if device != "cpu":
            torch.cuda.synchronize()

    return seconds(work) / n_calls


def in_turn(sides, n_repeats):
    """Seconds of every side, the order changing every time, after one run each."""
    times = {name: [] for name in sides}
    for repeat in range(n_repeats + 1):
        for name in list(sides)[:: 1 if repeat % 2 else -1]:
            times[name].append(sides[name]())
    return {name: np.array(found[1:]) for name, found in times.items()}


def compare_fits(n_repeats, n_iter):
    """Time whole fits, by step."""
    table = make_sinusoids(200)
    for n_inner_steps in (1, 5):
        sides = {
            name: lambda k=n_inner_steps, stops=stops: seconds(
                lambda: make_maml(k, n_iter, early_stopping=stops).fit(*table)
            )
            for name, stops in (("held out", True), ("plain", False))
        }
        times = in_turn(sides, n_repeats)
        yield Line(
            f"{n_iter:,} steps at {n_inner_steps}, held-out tasks / without, ms a step",
            1e3 * median(times["held out"]) / n_iter,
            1e3 * median(times["plain"]) / n_iter,
            list(times["held out"] / times["plain"]),
        )


def compare_numbers_of_tasks(n_repeats, n_steps):
    """Time our step with more and more tasks."""
    table = make_sinusoids(400)
    sizes = (25, 50, 100, 200, 400)
    sides = {
        size: lambda size=size: step_seconds(
            table, 1, max(n_steps * 25 // size, N_EPOCHS), meta_batch_size=size
        )
        for size in sizes
    }
    times = in_turn(sides, max(n_repeats // 2, 2))
    for size in sizes[1:]:
        linear = times[25] * size / 25
        yield Line(
            f"{size} tasks / {size // 25} times that of 25, ms",
            1e3 * median(times[size]),
            1e3 * median(linear),
            list(times[size] / linear),
            1.5,
            1.0,
        )


def compare_adaptation(n_repeats):
    """Adapt to many tasks and to one, and predict."""
    model = make_maml(5, N_EPOCHS).fit(*make_sinusoids(N_TASKS))
    X, y = make_sinusoids(1_000, N_ROWS, seed=1)
    X_query, _ = make_sinusoids(1_000, N_ROWS, seed=2)

    def adapt(n_rows):
        model.adapt(X[:n_rows], y[:n_rows]).predict(X_query[:n_rows])

    sides = {
        "many": lambda: seconds(lambda: adapt(len(X))),
        "one": lambda: seconds(lambda: adapt(N_ROWS)),
    }
    times = in_turn(sides, n_repeats)
    yield Line(
        "adapt and predict 1,000 tasks / 1 task, s",
        median(times["many"]),
        median(times["one"]),
        list(times["many"] - times["one"]),
        1.0,
        0.2,
        "s more",
    )


def compare_memory():
    """Measure what chunks of tasks do to the peak, in processes of their own."""
    for work, bar in (("fit", 0.35), ("predict", 0.5)):
        grown = {size: grown_memory(work, size) for size in (25, None)}
        yield Line(
            f"{MEMORY[work]}, task_chunk_size=25 / None, MB grown",
            grown[25],
            grown[None],
            [grown[25] / grown[None]],
            bar,
            bar / 2,
            "x its memory",
        )


MEMORY = {"fit": "fit, 400 tasks a step", "predict": "predict 2,000 tasks"}


def grown_memory(work, task_chunk_size):
    """MB that a fit or a prediction adds to the peak of a fresh process."""
    statements = (
        f"import sys; sys.path.insert(0, {HERE!r})",
        "import bench_meta_speed as bench",
        f"print(bench.run_for_memory({work!r}, {task_chunk_size}))",
    )
    command = [sys.executable, "-c", "\n".join(statements)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout)


def run_for_memory(work, task_chunk_size):
    """Fit, or fit little and predict much; return how the peak has grown, in MB."""
    from skmtl.architecture import HardSharing

    torch.set_num_threads(1)
    params = {"architecture": HardSharing((128, 128))}
    if work == "fit":
        table = make_sinusoids(400)
        make_maml(5, 1, meta_batch_size=2, **params).fit(*table)  # what any fit takes
        model = make_maml(
            5, 2, meta_batch_size=400, task_chunk_size=task_chunk_size, **params
        )
        before = peak_memory()
        model.fit(*table)
        return peak_memory() - before
    params |= {"meta_batch_size": 2, "task_chunk_size": task_chunk_size}
    model = make_maml(5, 1, **params)
    model.fit(*make_sinusoids(N_TASKS))
    X, y = make_sinusoids(2_000, N_ROWS, seed=1)
    model.adapt(X[:N_ROWS], y[:N_ROWS]).predict(X[:N_ROWS])
    before = peak_memory()
    model.adapt(X, y).predict(X)
    return peak_memory() - before


def all_lines(arguments):
    n_repeats = 2 if arguments.quick else arguments.repeats
    n_steps = 100 if arguments.quick else 500
    yield from compare_steps(n_repeats, n_steps, "cpu")
    if torch.cuda.is_available():
        yield from compare_steps(n_repeats, n_steps, "cuda")
    else:
        print("# no GPU here: the table is that of the CPU", flush=True)
    yield from compare_fits(max(n_repeats // 2, 1), 2 * n_steps)
    yield from compare_numbers_of_tasks(n_repeats, n_steps)
    yield from compare_adaptation(n_repeats)
    yield from compare_memory()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
    parser.add_argument("--quick", action="store_true", help="few steps and runs")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    print_setting()
    for n_inner_steps in (1, 5):
        check_gradients(n_inner_steps)
    print("# all sides compute the same meta-gradient", flush=True)

    lines = []
    for line in all_lines(arguments):
        print(f"# {line.work}: {line.ratio:.3g} {line.unit}", flush=True)
        lines.append(line)
    print()
    header = (
        "ours / theirs",
        "ours",
        "theirs",
        "median",
        "range",
        "floor",
        "stretch",
        "reached",
    )
    print_table(header, [line.cells() for line in lines])
    missed = [line.work for line in lines if line.verdict == "BELOW FLOOR"]
    assert not missed, f"below the floor: {'; '.join(missed)}"


if __name__ == "__main__":
    main()
