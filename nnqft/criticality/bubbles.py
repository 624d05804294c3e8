"""The linear O(N) model of a deep network: tadpoles to all orders, and the chain of bubbles at order 1/N.

With phi(h) = h the action averaged over the weights has the quartic vertex -(sigma_w^2 / 2N) sum_ts (h~_{t+1}.h~_{s+1})
(h_t.h_s): sigma_w^2 is its 't Hooft coupling. Tadpole (cactus) graphs are O(1) and sum to the self-consistent, Hartree
length; chains of bubbles are O(1/N) and sum to V, N times the variance of K^. Weights that are independent from layer
to layer leave t = s alone. For other activations the same chain holds with chi_par per rung and S per vertex: the
leading correction of 2109.13247, whose loop graphs these are (our reading of them: docs/criticality.md).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def cactus_length(sigma_w: float, sigma_b: float, first: float, layers: int) -> Array:
    """Lengths q of layers 1 ... layers + 1, (layers + 1,): C_W^t q_1 + C_b sum_{k<t} C_W^k, tadpoles in order.

    For C_W < 1 it tends to C_b / (1 - C_W), with depth scale -1 / ln C_W.
    """
    t, C_W = np.arange(layers + 1), sigma_w**2
    powers = C_W**t
    return powers * first + sigma_b**2 * np.concatenate([[0.0], np.cumsum(powers[:-1])])


def bubble_chain(source: ArrayLike, rung: ArrayLike) -> Array:
    """V of every layer, (T + 1,), as the sum of its graphs: V_t = sum_{s<t} S_s prod_{s<r<t} chi_r^2.

    source (T,): S of layers 1 ... T, one vertex each; rung (T,): chi of layers 1 ... T, one pair of propagators each.
    """
    S, chi = np.broadcast_arrays(np.asarray(source, dtype=np.float64), np.asarray(rung, dtype=np.float64))
    graphs = np.zeros((len(S) + 1, len(S)))
    for start in range(len(S)):
        graphs[start + 1 :, start] = S[start] * np.concatenate([[1.0], np.cumprod(chi[start + 1 :] ** 2)])
    return graphs.sum(axis=1)


def linear_bubbles(sigma_w: float, sigma_b: float, first: float, layers: int) -> Array:
    """V of layers 1 ... layers + 1 of a linear network: the chain with S_t = 2 C_W^2 q_t^2 and chi = C_W.

    Without biases V_t / K_t^2 = 2 (t - 1): with T = t - 1 layers summed over, V / (N K^2) = 2 T/N.
    """
    q = cactus_length(sigma_w, sigma_b, first, layers)
    return bubble_chain(2 * sigma_w**4 * q[:-1] ** 2, np.full(layers, sigma_w**2))
