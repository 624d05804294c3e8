"""Infinite-width kernels of multilayer perceptrons and the derivatives of the layer-to-layer map.

K^(1)_ab = sigma_b^2 + sigma_w^2 x_a.x_b / d_in and K^(l+1) = F(K^(l)) with
F_ab(K) = sigma_b^2 + sigma_w^2 <phi(z_a) phi(z_b)>_K. Derivatives follow from Price's theorem,
d<f>/dK_ab = <d_a d_b f> and d<f>/dK_aa = <d_a^2 f> / 2, on the coordinates K_ab with a <= b ("vech").
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import pair_averages
from nnqft.core.packing import Indices, multisets, pack, rank, unpack
from nnqft.nets.activations import Activation
from nnqft.nets.maps import CLOSED

Array = NDArray[np.float64]

EVALUATION_BLOCKS = (1 << 12, 1 << 16)
"""Activations are compiled for these array lengths only."""
PAIR_BLOCK = 64
"""Pairs of points in memory at a time in two-dimensional quadrature."""
COLLINEAR = 1e-12
"""relu: 1 - correlation^2 below which two preactivations count as collinear in the second derivatives."""


def first_factor(x: Array, sigma_w: float, sigma_b: float) -> Array:
    """A (n_x, r) with A A^T = K^(1) and r its rank, at most d_in + 1; x has shape (n_x, d_in).

    Factored from the points themselves, not from K^(1), whose condition number is the square.
    """
    design = np.concatenate([sigma_w / np.sqrt(x.shape[1]) * x, np.full((len(x), 1), sigma_b)], axis=1)
    left, values, _ = np.linalg.svd(design, full_matrices=False)
    keep = values > 1e-14 * values[0]
    return left[:, keep] * values[keep]


def first_kernel(x: Array, sigma_w: float, sigma_b: float) -> Array:
    """K^(1), shape (n_x, n_x): the exact covariance of the first preactivations."""
    return sigma_b**2 + sigma_w**2 * (x @ x.T) / x.shape[1]


def gp_kernel(activation: Activation, x: Array, depth: int, sigma_w: float, sigma_b: float) -> Array:
    """Kernel (n_x, n_x) of the output at infinite width after `depth` hidden layers."""
    kernel = first_kernel(x, sigma_w, sigma_b)
    for _ in range(checked_depth(activation, depth)):
        kernel = kernel_map(activation, kernel, sigma_w, sigma_b)
    return kernel


def kernel_map(activation: Activation, kernel: Array, sigma_w: float, sigma_b: float) -> Array:
    """F(K), shape (n, n); for `gauss` only meaningful on first-layer kernels.

    ValueError for an activation that is neither smooth nor among nnqft.nets.maps.CLOSED.
    """
    triples = _triples(kernel)
    if has_closed_kernel(activation):
        average = np.asarray(CLOSED[activation.name](*triples.T))
    elif activation.kind == "smooth":
        average = _averages(activation, triples, ((0, 0),))[0, 0]
    else:
        raise ValueError(f"no kernel for {activation.name}: it needs a closed form")
    return unpack(sigma_b**2 + sigma_w**2 * average, len(kernel))


def has_closed_kernel(activation: Activation) -> bool:
    """Whether <phi phi>_K is known in closed form."""
    return activation.name in CLOSED


def checked_depth(activation: Activation, depth: int) -> int:
    """The depth; ValueError if it is below one, or beyond one for `gauss`, whose second-layer variance is infinite."""
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if activation.kind == "lognormal" and depth > 1:
        raise ValueError(f"{activation.name} at depth {depth}: its variance is infinite beyond one hidden layer")
    return depth


@dataclass(frozen=True)
class MapDerivatives:
    """First and second derivatives of F_ab with respect to (K_aa, K_ab, K_bb), for every pair a <= b.

    legs (P, 3): packed positions of the three arguments; first (P, 3); second (P, 3, 3). For a = b the three
    arguments are the same coordinate, and the derivative along it is the sum over them.
    """

    legs: Indices
    first: Array
    second: Array

    def jacobian(self) -> Array:
        """J (P, P), J[ab, cd] = dF_ab / dK_cd for a <= b, c <= d."""
        size = len(self.legs)
        dense = np.zeros((size, size))
        np.add.at(dense, (np.arange(size)[:, None], self.legs), self.first)
        return dense

    def hessian_trace(self, covariance: Array) -> Array:
        """H : V, shape (P,): sum over cd, ef of d^2 F_ab / dK_cd dK_ef V[cd, ef] for V (P, P)."""
        return np.einsum("pij,pij->p", self.second, covariance[self.legs[:, :, None], self.legs[:, None, :]])


def map_derivatives(activation: Activation, kernel: Array, sigma_w: float) -> MapDerivatives:
    """Derivatives of F at K (n, n): relu in closed form, other activations by quadrature of their derivatives."""
    n = len(kernel)
    a, b = multisets(n, 2).T
    legs = rank(np.array([[a, a], [a, b], [b, b]]).transpose(2, 0, 1), n)
    triples = _triples(kernel)
    if activation.name == "relu":
        first, second = _relu_derivatives(*triples.T)
    elif activation.kind == "smooth":
        first, second = _price_derivatives(activation, triples)
    else:
        raise ValueError(f"no derivatives of the kernel map for {activation.name}")
    return MapDerivatives(legs, sigma_w**2 * first, sigma_w**2 * second)


def evaluate(activation: Activation, z: Array, derivative: int = 0) -> Array:
    """Phi or one of its derivatives at z, any shape, in float64 whatever JAX's default.

    Not for `gauss`, which needs variances and whose moments are closed form.
    """
    function = _compiled(activation, derivative)
    block = EVALUATION_BLOCKS[z.size > EVALUATION_BLOCKS[0]]
    padded = np.zeros(max(1, -(-z.size // block)) * block)
    padded[: z.size] = z.ravel()
    with jax.enable_x64(True):
        values = [np.asarray(function(part)) for part in padded.reshape(-1, block)]
    return np.concatenate(values)[: z.size].reshape(z.shape)


@lru_cache(maxsize=64)
def _compiled(activation: Activation, derivative: int) -> Callable[[Array], jax.Array]:
    def scalar(z: jax.Array) -> jax.Array:
        return activation(z, jnp.zeros_like(z))

    function = scalar
    for _ in range(derivative):
        function = jax.grad(function)
    return jax.jit(jax.vmap(function))


def _triples(kernel: Array) -> Array:
    """(K_aa, K_ab, K_bb) of every pair a <= b, shape (P, 3)."""
    a, b = multisets(len(kernel), 2).T
    return np.stack([kernel[a, a], pack(kernel), kernel[b, b]], axis=1)


def _averages(
    activation: Activation, triples: Array, products: tuple[tuple[int, int], ...]
) -> dict[tuple[int, int], Array]:
    """<phi^(i)(z_a) phi^(j)(z_b)> for each (i, j) of `products`, shape (P,) each, by quadrature."""
    highest = max(max(product) for product in products)
    units = [lambda z, k=k: evaluate(activation, z, k) for k in range(highest + 1)]
    blocks = [
        pair_averages(units, triples[start : start + PAIR_BLOCK], products, odd=activation.odd)
        for start in range(0, len(triples), PAIR_BLOCK)
    ]
    return {product: np.concatenate([block[product] for block in blocks]) for product in products}


def _price_derivatives(activation: Activation, triples: Array) -> tuple[Array, Array]:
    """Price's theorem with the operators (d_a^2 / 2, d_a d_b, d_b^2 / 2) for (K_aa, K_ab, K_bb)."""
    powers, factors = ((2, 0), (1, 1), (0, 2)), np.array([0.5, 1.0, 0.5])
    squares = [[(p[0] + q[0], p[1] + q[1]) for q in powers] for p in powers]
    averages = _averages(activation, triples, powers + tuple({s for row in squares for s in row} - set(powers)))
    first = np.stack([averages[p] for p in powers], axis=-1)
    second = np.stack([np.stack([averages[s] for s in row], axis=-1) for row in squares], axis=-2)
    return factors * first, np.outer(factors, factors) * second


def _relu_determinant(aa: Array, ab: Array, bb: Array) -> Array:
    """K_aa K_bb - K_ab^2, zero where it is rounding noise."""
    determinant = aa * bb - ab**2
    return np.where(determinant > 4 * np.finfo(float).eps * aa * bb, determinant, 0.0)


def _relu_derivatives(aa: Array, ab: Array, bb: Array) -> tuple[Array, Array]:
    """First (P, 3) and second (P, 3, 3) derivatives of the arc-cosine kernel.

    The second ones diverge as 1 / sqrt(K_aa K_bb - K_ab^2) at collinear points, where they become that factor times
    the square of c K_aa - 2 K_ab + K_bb / c, c^2 = K_bb / K_aa. This is the mean square of c z_a - z_b over c, which
    does not fluctuate: points are collinear in a kernel beyond the first only if z_b = c z_a in every network. So
    their trace with the covariance vanishes, and they are set to zero there.
    """
    determinant = _relu_determinant(aa, ab, bb)
    root = np.sqrt(determinant)
    alive = (aa > 0) & (bb > 0)
    safe_aa, safe_bb = np.where(alive, aa, 1.0), np.where(alive, bb, 1.0)
    first = np.stack([root / safe_aa / 2, np.pi - np.arctan2(root, ab), root / safe_bb / 2], axis=-1) / (2 * np.pi)
    regular = determinant > COLLINEAR * aa * bb
    inverse = np.where(regular, 1 / np.where(regular, root, 1.0), 0.0) / (8 * np.pi)
    second = np.empty((len(aa), 3, 3))
    second[:, 0, 0] = (2 * ab**2 - aa * bb) / safe_aa**2
    second[:, 2, 2] = (2 * ab**2 - aa * bb) / safe_bb**2
    second[:, 0, 2] = second[:, 2, 0] = 1.0
    second[:, 1, 1] = 4.0
    second[:, 0, 1] = second[:, 1, 0] = -2 * ab / safe_aa
    second[:, 1, 2] = second[:, 2, 1] = -2 * ab / safe_bb
    return first, second * inverse[:, None, None]
