"""The exact Markov chain of empirical kernels, simulated: independent of every expansion."""

import numpy as np
from scipy.special import erf


def kernels(phi, C_W, C_b, first, width, layers, networks, seed):
    """Khat of the layers after the first, (layers, networks), for one input of first-layer kernel `first`."""
    rng = np.random.default_rng(seed)
    q, found = np.full(networks, first), []
    for _ in range(layers):
        z = np.sqrt(q)[:, None] * rng.standard_normal((networks, width))
        q = C_b + C_W * np.mean(phi(z) ** 2, axis=1)
        found.append(q)
    return np.array(found)


def pair_kernels(phi, C_W, C_b, first, width, layers, networks, seed):
    """Khat of the last of so many further layers, (networks, n, n), for n inputs of first-layer kernel (n, n)."""
    rng = np.random.default_rng(seed)
    K = np.broadcast_to(first, (networks, *np.shape(first)))
    for _ in range(layers):
        units = phi(rng.standard_normal((networks, width, K.shape[1])) @ np.linalg.cholesky(K).transpose(0, 2, 1))
        K = C_b + C_W * units.transpose(0, 2, 1) @ units / width
    return K


def erf_growth(C_W, C_b, start, width, burn, window, networks, seed):
    """Growth per layer of E t and E d in an erf network, with jackknife errors: two pairs (value, error).

    t is the derivative of the variance q by that of the first layer. (q, p, d) are the variance of a preactivation,
    its covariance with an infinitesimal perturbation and the latter's variance: the neurons of the next layer carry
    phi'(z) times the perturbation. The last step is averaged over its neurons: E t' = chi t, E d' = X d + 2 X' p^2.
    """
    rng = np.random.default_rng(seed)
    q, t, p, d = np.full(networks, start), np.ones(networks), np.zeros(networks), np.ones(networks)
    for layer in range(burn + window):
        g, h = rng.standard_normal((2, networks, width))
        z = np.sqrt(q)[:, None] * g
        value, slope = erf(z), 2 / np.sqrt(np.pi) * np.exp(-(z**2))
        if layer >= burn:
            push = slope * ((p / np.sqrt(q))[:, None] * g + np.sqrt(d - p**2 / q)[:, None] * h)
            t = t * C_W * np.mean(value * slope * g, axis=1) / np.sqrt(q)
            p, d = C_W * np.mean(value * push, axis=1), C_W * np.mean(push**2, axis=1)
        q = C_b + C_W * np.mean(value**2, axis=1)
    X = 4 * C_W / (np.pi * np.sqrt(1 + 4 * q))
    return jackknife_ratio(X / (1 + 2 * q) * t, t), jackknife_ratio(X * d - 4 * X / (1 + 4 * q) * p**2, d)


def jackknife_ratio(top, bottom, groups=20):
    """Mean top over mean bottom, and its error."""
    top, bottom = (part.reshape(groups, -1).mean(axis=1) for part in (top, bottom))
    left_out = (top.sum() - top) / (bottom.sum() - bottom)
    return top.sum() / bottom.sum(), np.std(left_out) * np.sqrt(groups - 1)


def variance(samples):
    """Sample variance and its standard error."""
    centred = samples - samples.mean()
    return samples.var(ddof=1), np.std(centred**2) / np.sqrt(len(samples))
