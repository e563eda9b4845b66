"""Small convex problems on Gramians, solved for many networks at once.

All are in NumPy and float64. An iteration is a dozen small array operations, and there
are few: the methods are active-set and Newton methods, which may start where the last
batch ended. A network that has converged is left alone, so that what it gets does not
depend on the others.
"""

import numpy as np

from ._linalg import solve

# Added to a diagonal of ones: Gramians of many tasks are singular, and a weight in a
# direction without gradient changes nothing.
RIDGE = 1e-9
# Where gradients cancel, an equilibrium is as far away as the root of the ridge says,
# and must not drown in rounding there.
_SOFT_RIDGE = 1e-7
# Violations of the optimality conditions below this are rounding.
_TOLERANCE = 1e-10
_ROUNDING = 1e-13


def cosines(gramian, rounding=0.0, least=RIDGE):
    """Scale a Gramian to cosines, and make it safe to solve with.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Inner products of gradients, whose norms may differ by orders of magnitude.
    rounding : float, default=0.0
        What cosines may be wrong by. Of dependent gradients the matrix has negative
        eigenvalues of that size in float32, and what solvers rely on would not hold.
    least : float, default=1e-9
        The least that is added to the diagonal; more where rounding is coarser.

    Returns
    -------
    cosines : ndarray of shape (n_networks, n_tasks, n_tasks)
        Positive definite. Almost zero for gradients of zero.
    norm : ndarray of shape (n_networks, n_tasks)
        Norms of the gradients; 1 where they are zero.
    """
    norm = np.sqrt(gramian.diagonal(axis1=1, axis2=2))
    norm = np.where(norm > 1e-15, norm, 1.0)
    scaled = gramian / (norm[:, :, None] * norm[:, None])
    return scaled + max(least, rounding) * np.eye(gramian.shape[-1]), norm


def solve_on(free, gramian, *sides):
    """Solve linear systems on some of the coordinates.

    Parameters
    ----------
    free : ndarray of shape (..., n), bool
        Coordinates that are solved for; the others are zero.
    gramian : ndarray of shape (..., n, n)
        Positive definite.
    *sides : ndarrays of shape (..., n)
        Right-hand sides.

    Returns
    -------
    solutions : list of ndarray of shape (..., n)
        One a side.
    """
    both = free[..., :, None] & free[..., None, :]
    matrix = np.where(both, gramian, 0.0)
    diagonal = np.einsum("...ii->...i", matrix)
    diagonal += ~free
    right = np.stack([np.where(free, side, 0.0) for side in sides], axis=-1)
    found = solve(matrix, right)
    return [found[..., i] for i in range(len(sides))]


def _solve_gathered(free, gramian, network, side):
    """Solve as :func:`solve_on`, with the free coordinates moved together.

    Of 64 tasks a projection needs a few, and solving is cubic.

    Parameters
    ----------
    free : ndarray of shape (n_sides, n), bool
        Coordinates that are solved for.
    gramian : ndarray of shape (n_networks, n, n)
        Positive definite.
    network : ndarray of shape (n_sides,), int
        Whose Gramian a side belongs to.
    side : ndarray of shape (n_sides, n)
        Right-hand sides.

    Returns
    -------
    solution : ndarray of shape (n_sides, n)
        Zero where not free.
    """
    size = max(1, free.sum(-1).max())
    places = np.argsort(~free, axis=-1, kind="stable")[:, :size]
    matrix = gramian[network[:, None, None], places[:, :, None], places[:, None]]
    here = np.take_along_axis(free, places, axis=-1)
    (found,) = solve_on(here, matrix, np.take_along_axis(side, places, axis=-1))
    solution = np.zeros(side.shape)
    np.put_along_axis(solution, places, found, axis=-1)
    return solution


# From here on gathering costs less than it saves.
_MANY = 16
# Pivoting takes a handful of steps, or hundreds where many gradients depend.
_PIVOTS = 25
# Numbers in the matrices of the problems that the fallback solves at once.
_BLOCK = 2_000_000


def minimize_nonnegative(gramian, linear, free, max_iter=60):
    r"""Minimise :math:`\tfrac12 x^T G x + c^T x` over :math:`x \ge 0`.

    By block principal pivoting, and where that takes long by an interior-point method,
    which takes as long for one problem as for another.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n, n)
        G, positive definite.
    linear : ndarray of shape (n_networks, n_sides, n)
        c, of several problems a network.
    free : ndarray of shape (n_networks, n_sides, n), bool
        Where to start: coordinates that may be positive.
    max_iter : int, default=60
        Systems solved at most by either method.

    Returns
    -------
    x : ndarray of shape (n_networks, n_sides, n)
        The minimum.
    free : ndarray of shape (n_networks, n_sides, n), bool
        Its coordinates that may be positive.
    converged : ndarray of shape (n_networks, n_sides), bool
        Whether all conditions hold.
    """
    n_pivots = min(_PIVOTS, max_iter)
    x, free, converged = _pivot(gramian, linear, free, n_pivots)
    if converged.all():
        return x, free, converged
    network, side = np.nonzero(~converged)
    size = max(1, _BLOCK // linear.shape[-1] ** 2)
    for start in range(0, len(network), size):
        at = network[start : start + size], side[start : start + size]
        matrix = gramian[at[0]]
        inside, free[at], converged[at] = _interior(matrix, linear[at], max_iter)
        # From its set one pivot or two give what the others get.
        exact, sets, sound = _pivot(
            matrix, linear[at][:, None], free[at][:, None], n_pivots
        )
        x[at] = np.where(sound, exact[:, 0], inside)
        free[at] = np.where(sound, sets[:, 0], free[at])
        converged[at] |= sound[:, 0]
    return x, free, converged


def _pivot(gramian, linear, free, max_iter):
    """Minimise by block principal pivoting.

    All coordinates that violate their condition change sides, and only the last one
    when that has not helped for a while, which cannot cycle.

    Parameters
    ----------
    gramian, linear, free : ndarray
        As :func:`minimize_nonnegative`.
    max_iter : int
        Systems solved at most.

    Returns
    -------
    x, free, converged : ndarray
        As :func:`minimize_nonnegative`.

    References
    ----------
    .. [1] J. Kim, H. Park (2011). Fast Nonnegative Matrix Factorization: An
       Active-Set-Like Method and Comparisons. SIAM Journal on Scientific Computing 33,
       section 3.
    """
    n = linear.shape[-1]
    free = free.copy()
    fewest = np.full(linear.shape[:-1], n + 1)
    tries = np.full(linear.shape[:-1], 3)
    scale = _TOLERANCE * np.abs(linear).max(-1, keepdims=True)
    x = np.zeros(linear.shape)
    count = fewest
    for _ in range(max_iter):
        if n < _MANY:
            (x,) = solve_on(free, gramian[:, None], -linear)
        else:
            asked = np.nonzero(count)
            x[asked] = _solve_gathered(free[asked], gramian, asked[0], -linear[asked])
        slope = x @ gramian + linear
        # Where gradients cancel x is large, and so is its rounding.
        least = scale + _ROUNDING * np.abs(x).max(-1, keepdims=True)
        wrong = np.where(free, x, slope) < -least
        count = wrong.sum(-1)
        if not count.any():
            break
        better = count < fewest
        fewest = np.minimum(fewest, count)
        tries = np.where(better, 3, tries - 1)
        last = n - 1 - wrong[..., ::-1].argmax(-1)
        one = wrong & (np.arange(n) == last[..., None])
        free ^= np.where((tries >= 0)[..., None], wrong, one)
    return np.maximum(x, 0.0), free, count == 0


def _interior(gramian, linear, max_iter):
    """Minimise by a primal-dual interior-point method.

    Parameters
    ----------
    gramian : ndarray of shape (n_problems, n, n)
        Positive definite.
    linear : ndarray of shape (n_problems, n)
        The linear part.
    max_iter : int
        Steps at most.

    Returns
    -------
    x : ndarray of shape (n_problems, n)
        The minimum, nothing of it exactly zero.
    free : ndarray of shape (n_problems, n), bool
        Coordinates that are larger than their slopes.
    converged : ndarray of shape (n_problems,), bool
        Whether the gap has closed.
    """
    eye = np.eye(linear.shape[1])
    size = np.maximum(np.abs(linear).max(-1, keepdims=True), 1e-300)
    linear = linear / size
    # Of the size of the minimum without bounds: where gradients cancel that is large.
    x = np.abs(solve(gramian, -linear[..., None])[..., 0])
    x = np.maximum(x, x.mean(-1, keepdims=True))
    z = np.ones(linear.shape)
    shrink = 0.1
    converged = np.zeros(len(x), bool)
    for _ in range(max_iter):
        gap = (x * z).mean(-1, keepdims=True)
        slope = (gramian @ x[..., None])[..., 0] + linear
        large = 1 + x.max(-1)
        error = np.abs(slope - z).max(-1) + gap[:, 0] / large
        converged |= error < 1e-13 * large
        if converged.all():
            break
        aim = shrink * gap / x
        matrix = gramian + (z / x)[:, None] * eye
        dx = solve(matrix, (aim - slope)[..., None])[..., 0]
        dz = aim - z - z / x * dx
        ratio = np.maximum(-dx / x, -dz / z).max(-1)
        length = np.minimum(1.0, 0.99 / np.maximum(ratio, 1e-300))
        shrink = np.where(length > 0.5, 0.1, 0.5)[:, None]
        length = np.where(converged, 0.0, length)[:, None]
        x = x + length * dx
        z = z + length * dz
    return x * size, x > z, converged


def shortest_combination(gramian, present, free, rounding=0.0, max_iter=60):
    """Find the weights on the simplex whose combination of gradients is shortest.

    The minimum of half the square less the sum of the weights, over weights that are
    not negative, is a multiple of it.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Of mean squared norm one.
    present : ndarray of shape (n_networks, n_tasks), bool
        Tasks that may have weight.
    free : ndarray of shape (n_networks, n_tasks), bool
        Where to start.
    rounding : float, default=0.0
        What cosines may be wrong by.
    max_iter : int, default=60
        Systems solved at most by either method.

    Returns
    -------
    weights, free : ndarray of shape (n_networks, n_tasks)
        As :func:`minimize_nonnegative`; weights sum to one.
    converged : ndarray of shape (n_networks,), bool
        Whether all conditions hold; weights are equal where they got lost.
    """
    matrix, norm = cosines(gramian, rounding)
    linear = np.where(present, -1 / norm, 0.0)
    scaled, free, converged = minimize_nonnegative(
        matrix, linear[:, None], (free & present)[:, None], max_iter=max_iter
    )
    weights = scaled[:, 0] / norm
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=present * 1.0, where=total > 0)
    return weights, free[:, 0], converged[:, 0]


def equilibrium(gramian, power, start, rounding=0.0, max_iter=200):
    r"""Find positive weights with :math:`(G w)_i = w_i^{-p}`.

    A primal-dual Newton method on weights and gains, whose product with a power is
    linear in their logarithms. The unknowns are weights times norms, so that norms may
    differ by orders of magnitude. Weights and gains below 1e-10 of the largest weight
    count as zero: with powers far from one they leave the range of numbers.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Of mean squared norm one. Tasks without gradient get a weight of one.
    power : ndarray of shape (n_networks, 1)
        p, positive.
    start : ndarray of shape (n_networks, n_tasks)
        Where to start; zero where nothing is known.
    rounding : float, default=0.0
        What cosines may be wrong by.
    max_iter : int, default=200
        Steps at most.

    Returns
    -------
    weights : ndarray of shape (n_networks, n_tasks)
        Positive.
    converged : ndarray of shape (n_networks,), bool
        Whether the last step was small.
    """
    gramian, norm = cosines(gramian, rounding, _SOFT_RIDGE)
    silent = gramian.diagonal(axis1=1, axis2=2) < 0.5
    gramian = gramian + silent[:, None] * np.eye(gramian.shape[1])
    # In terms of v = w * norm and z = G v the equation is log z + p log v = b.
    b = (power - 1) * np.log(norm)
    # The solution for orthogonal gradients is a start that knows the norms.
    fresh = np.exp(b / (1 + power))
    known = np.where(start > 0, start * norm, fresh)
    n_warm = min(_WARM, max_iter)
    v, converged = _balance(gramian, power, b, known, n_warm)
    if n_warm < max_iter and not converged.all():
        lost = np.flatnonzero(~converged)
        v[lost], converged[lost] = _balance(
            gramian[lost], power[lost], b[lost], fresh[lost], max_iter
        )
    return v / norm, converged


# What the last batch knew has settled by then, or it is of no help to this one.
_WARM = 15


def _balance(gramian, power, b, v, max_iter):
    """Solve for weights and gains whose logarithms add up.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Positive definite, with a diagonal of ones.
    power : ndarray of shape (n_networks, 1)
        Factor on the logarithms of weights.
    b : ndarray of shape (n_networks, n_tasks)
        What the logarithms add up to.
    v : ndarray of shape (n_networks, n_tasks)
        Positive; where to start.
    max_iter : int
        Steps at most.

    Returns
    -------
    v : ndarray of shape (n_networks, n_tasks)
        Weights.
    converged : ndarray of shape (n_networks,), bool
        Whether the last step was small.
    """
    eye = np.eye(gramian.shape[1])
    v = np.maximum(v, 1e-6 * v.max(-1, keepdims=True))
    z = (gramian @ v[..., None])[..., 0]
    z = np.maximum(z, 1e-3 * v.max(-1, keepdims=True))
    # Along this ray the equations hold in the mean.
    ray = (b - np.log(z) - power * np.log(v)).mean(-1, keepdims=True) / (1 + power)
    ray = np.exp(ray)
    v, z = v * ray, z * ray
    converged = np.zeros(len(v), bool)
    for _ in range(max_iter):
        product = (gramian @ v[..., None])[..., 0]
        lacks = z * (b - np.log(z) - power * np.log(v))
        ratio = power * z / v
        matrix = gramian + ratio[:, None] * eye
        dv = solve(matrix, (lacks + z - product)[..., None])[..., 0]
        dz = lacks - ratio * dv
        least = 1e-10 * v.max(-1, keepdims=True)
        # What is at its least and would fall stays, and holds up no other.
        by_v = np.where((v <= 1.01 * least) & (dv < 0), 0.0, dv / v)
        by_z = np.where((z <= 1.01 * least) & (dz < 0), 0.0, dz / z)
        fall = -np.minimum(by_v, by_z).min(-1)
        length = np.where(fall > 0.9, 0.9 / np.maximum(fall, 0.9), 1.0)
        length = np.where(converged, 0.0, length)[:, None]
        v = np.where(length > 0, np.maximum(v + length * dv, least), v)
        z = np.where(length > 0, np.maximum(z + length * dz, least), z)
        # This step was the last: near the solution each one squares the error.
        converged |= np.maximum(np.abs(by_v), np.abs(by_z)).max(-1) < 1e-6
        if converged.all():
            break
    return v, converged


def conflict_averse(gramian, mean, c, free, rounding=0.0, max_iter=50):
    r"""Find the direction near the mean whose worst task gains most.

    The direction is :math:`g_0 + \sum_i v_i g_i` with :math:`v \ge 0` and
    :math:`\|\sum_i v_i g_i\| = c \|g_0\|`, in which all tasks with a positive v gain
    the same, and the others more. On a given set of these it is the root of a
    quadratic. Tasks without gradient gain nothing anywhere, and have no say.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Of mean squared norm one.
    mean : ndarray of shape (n_networks, n_tasks)
        Weights of the mean gradient, positive for present tasks.
    c : ndarray of shape (n_networks,)
        Radius in units of the norm of the mean gradient, positive.
    free : ndarray of shape (n_networks, n_tasks), bool
        Where to start.
    rounding : float, default=0.0
        What cosines may be wrong by.
    max_iter : int, default=50
        Sets tried before bisection takes over.

    Returns
    -------
    weights : ndarray of shape (n_networks, n_tasks)
        v.
    free : ndarray of shape (n_networks, n_tasks), bool
        Its tasks that may be positive.
    converged : ndarray of shape (n_networks,), bool
        Whether all conditions hold.
    """
    gramian, norm = cosines(gramian, rounding)
    present = (mean > 0) & (gramian.diagonal(axis1=1, axis2=2) > 0.5)
    # In terms of v * norm.
    along = (gramian @ (mean * norm)[..., None])[..., 0]
    # In the geometry that the ridge makes no mean is zero, and from c=1 on no task
    # loses, however gradients cancel.
    radius = c * np.sqrt((mean * norm * along).sum(-1))
    ones = np.where(present, 1 / norm, 0.0)
    free = free & present
    free = np.where(free.any(-1, keepdims=True), free, present)
    scale = _TOLERANCE * (1 + np.abs(along).max(-1, keepdims=True))
    for _ in range(max_iter):
        p, q = solve_on(free, gramian, ones, -along)
        a, b = (p * ones).sum(-1), (q * ones).sum(-1)
        gap = b**2 + a * ((q * along).sum(-1) + radius**2)
        level = (np.sqrt(np.maximum(gap, 0.0)) - b) / a
        v = q + level[:, None] * p
        slope = (gramian @ v[..., None])[..., 0] + along - level[:, None] * ones
        wrong = present & (np.where(free, v, slope) < -scale)
        converged = ~wrong.any(-1) & (gap >= 0)
        if converged.all():
            break
        changed = free ^ wrong
        # The set never becomes empty: the worst task of the mean is in it.
        worst = np.where(present, along * norm, np.inf).argmin(-1)
        empty = ~changed.any(-1)
        changed[empty, worst[empty]] = True
        stuck = ~converged & (changed == free).all(-1)
        changed[stuck] = present[stuck]
        free = np.where(converged[:, None], free, changed)
    v = np.maximum(v, 0.0)
    if not converged.all():
        lost = np.flatnonzero(~converged)
        v[lost], free[lost], converged[lost] = _bisect(
            gramian[lost], along[lost], ones[lost], radius[lost], free[lost]
        )
    return v / norm, free, converged


def _bisect(gramian, along, ones, radius, free):
    """Find the gain of the worst task at which the way to the mean has its length."""

    def at(level, free):
        linear = np.where(ones > 0, along - level[:, None] * ones, 0.0)
        found = minimize_nonnegative(gramian, linear[:, None], free[:, None])
        v, free, sound = (part[:, 0] for part in found)
        length = np.sqrt(np.maximum((v * (gramian @ v[..., None])[..., 0]).sum(-1), 0))
        return v, free, sound, length

    scale = np.where(ones > 0, ones, 1.0)
    low = np.where(ones > 0, along / scale, np.inf).min(-1)
    high = low + 1.0
    for _ in range(60):
        *_, length = at(high, free)
        short = length < radius
        if not short.any():
            break
        high = np.where(short, low + 2 * (high - low), high)
    for _ in range(80):
        middle = 0.5 * (low + high)
        v, free, sound, length = at(middle, free)
        low = np.where(length < radius, middle, low)
        high = np.where(length < radius, high, middle)
    close = np.abs(length - radius) <= 1e-6 * np.maximum(radius, 1e-12)
    return v, free, sound & close
