"""One block of self-attention: O_h = A_h X W_V^h / sqrt(d), A_h = softmax over t of Q_s . K_t / d_k^tau, H heads.

A point is T tokens of d components, Q = X W_Q / sqrt(d) and K = X W_K / sqrt(d) with d_k columns, W_V^h with d_v, all
weights of unit variance and no biases inside. The readout averages over tokens s or has a weight for each,

    pool:   f = b + (1/T) sum_s sum_h,j w_hj O_hj(s),     Var w = sigma_w^2 / (H d_v),
    vector: f = b + sum_s sum_h,j w_hj,s O_hj(s),         Var w = sigma_w^2 / (H d_v T),

and Var b = sigma_b^2: these two scales belong to the readout alone. With tau = 1/2 and W_Q, W_K independent the output
is Gaussian only for many heads; with tau = 1 and W_Q = W_K the logits are x_s . x_t / d at d_k = infinity, and many
heads or values do (Hron, Bahri, Sohl-Dickstein and Novak 2006.10540). Given the logits of a head, a value is a linear
form g . y with g ~ N(0, 1) in the attended tokens y_a(s) = sum_t A_st x_a(t) / sqrt(d). It adds g^T B_ab g to the
kernel, B_ab the symmetrised mean over s of y_a(s) y_b(s)^T (pool: y averaged first), and heads are iid. Hence at every
H and d_v

    G2 = sigma_b^2 + sigma_w^2 E tr B,
    H G4c = sigma_w^4 sum over 3 pairings of [Cov(tr B, tr B) + (2 / d_v) E tr(B B)]

from the logits of one head; for the pooled readout tr(B_ab B_cd) = (M_ac M_bd + M_ad M_bc) / 2 with M = tr B.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator
from scipy.special import gammaincinv, ndtri

from nnqft.core.normals import normals, subkey
from nnqft.core.packing import multisets, unpack
from nnqft.nets import base
from nnqft.nets.averages import Estimate, gaussian_estimates, known_from, sobol_estimates
from nnqft.nets.base import Array, Features, Known, Network, NotKnownError
from nnqft.nets.influence import sum_over_pairings

VALUES = 1 << 26
"""Attention weights in one quasi-Monte Carlo average."""
Count = Annotated[int, Field(ge=1)]


class Options(base.Options):
    """Options of attention networks."""

    tokens: Count
    """Tokens T of a point; its coordinates are the T tokens one after another."""
    width_is: Literal["heads", "values"] = "heads"
    """What the width counts: heads H, or values d_v of each head."""
    heads: Count = 1
    """Heads H, unless they are the width."""
    values: Count = 1
    """Values d_v of each head, unless they are the width."""
    keys: Count | Literal["infinite"] = "infinite"
    """Keys d_k of each head."""
    key_scaling: float = 0.5
    """tau, 0.5 or 1: logits are Q . K / d_k^tau."""
    tied_keys: bool = False
    """Whether W_Q = W_K."""
    readout: Literal["pool", "vector"] = "pool"
    """One weight for the average over tokens, or one for every token."""

    @model_validator(mode="after")
    def _consistent(self) -> "Options":
        if self.key_scaling not in (0.5, 1.0):
            raise ValueError(f"key_scaling must be 0.5 or 1 (got {self.key_scaling})")
        if getattr(self, self.width_is) != 1:
            raise ValueError(f"the number of {self.width_is} is the width: leave it out")
        if self.tied_keys and self.keys == "infinite" and self.key_scaling == 0.5:
            raise ValueError("logits of tied keys grow as d_k^(1/2): use key_scaling: 1 with infinite keys")
        return self

    @property
    def fixed_logits(self) -> bool:
        """Whether the logits do not fluctuate."""
        return self.keys == "infinite" and self.key_scaling == 1.0


_EXAMPLE = [[1, 0.5, -0.3, 0.8, 0.6, -1], [0.2, -0.7, 0.9, 0.4, -0.5, 0.3]]


class Attention(Network):
    """One block of `width` heads, or of heads with `width` values."""

    name: ClassVar[str] = "attention"
    Options: ClassVar[type[base.Options]] = Options
    fixed_activation: ClassVar[str | None] = "linear"
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": _EXAMPLE, "tokens": 3, "values": 2},
        {"x": _EXAMPLE, "tokens": 3, "values": 2, "keys": 4, "key_scaling": 1.0, "tied_keys": True, "sigma_b": 0.3},
        {
            "x": _EXAMPLE,
            "tokens": 3,
            "width_is": "values",
            "heads": 1,
            "keys": "infinite",
            "key_scaling": 1.0,
            "tied_keys": True,
        },
    )

    @property
    def heads(self) -> int:
        """H."""
        return self.width if self.options.width_is == "heads" else self.options.heads

    @property
    def values(self) -> int:
        """d_v."""
        return self.width if self.options.width_is == "values" else self.options.values

    def working_set(self, points: int) -> int:
        """Logits, queries, keys and values of all heads."""
        tokens = self.options.tokens
        keys = 1 if self.options.keys == "infinite" else self.options.keys
        return self.heads * points * tokens * (3 * tokens + 2 * keys + 2 * self.values)

    @property
    def units(self) -> int:
        """Heads times values, and times tokens where these are not averaged."""
        return self.heads * self.values * (1 if self.options.readout == "pool" else self.options.tokens)

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """O at every token, or its average: see :class:`nnqft.nets.base.Network`.

        `conditional` draws queries, keys and values of as many components as there are tokens where tokens have more.
        """
        tokens = _tokens(x, self.options.tokens)
        if self.sampler == "conditional" and tokens.shape[1] > tokens.shape[0]:
            tokens = jnp.linalg.qr(tokens.T, mode="r").T
        tokens = tokens.reshape(len(x), self.options.tokens, -1).astype(self.dtype)
        size = tokens.shape[-1]
        attended = _attended(self._forms(key, network, size), tokens, self.options.readout)
        attended = jnp.broadcast_to(attended, (len(network), self.heads, *attended.shape[2:]))
        value = self._weights(subkey(key, 3), network, self.values, size)
        units = jnp.einsum("mhasi,mhji->mhjsa", attended, value, precision="highest")
        return Features(units.reshape(len(network), self.units, len(x)))

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """More than one block, and points that are not T tokens."""
        if self.depth != 1:
            return "depth", f"attention networks have one block (got {self.depth})", "use depth: 1"
        if x.shape[1] % self.options.tokens:
            problem = f"{x.shape[1]} coordinates are not {self.options.tokens} tokens"
            return "options.tokens", problem, "give points of tokens * components coordinates"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """Covariance of the output at any width."""
        return sigma_b**2 + sigma_w**2 * unpack(self._head(x).kernel.value, len(x))

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Orders 2 and 4 at every number of heads and values, from an average over the logits of one head."""
        head, heads, values = self._head(x), self.options.heads, self.options.values
        heads, values = (widths, values) if self.options.width_is == "heads" else (heads, widths)
        second = Estimate(sigma_b**2 + sigma_w**2 * head.kernel.value + 0 * widths, sigma_w**2 * head.kernel.error)
        each = [(getattr(head.between, k) + 2 / values * getattr(head.within, k)) for k in ("value", "error")]
        fourth = Estimate(*(sigma_w**4 / heads * part for part in each))
        return known_from({2: second, 4: fourth}, "order 6 is not computed for attention networks")

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """What one head, or one value of every head, adds to the kernel, its mean not subtracted.

        No covariance sees the mean, and Cov(Psi, Psi) gives N G4c at every width. NotKnownError for values as the width
        with fluctuating logits, where G4c stays finite.
        """
        if self.options.width_is == "values" and not self.options.fixed_logits:
            what = "the output of few heads with fluctuating logits is not Gaussian at any width: N G4c has no limit"
            raise NotKnownError(f"{what}; use known(), which is right at every number of heads and values")
        single = replace(self, width=1)
        return single.kernel(single.features(key, paths, x, sigma_w, sigma_b).units, sigma_w, sigma_b)

    def _forms(self, key: jax.Array, network: jax.Array, size: int) -> jax.Array:
        """W_Q W_K^T / d_k^tau on tokens of `size` components: (networks or 1, heads or 1, size, size) in dtype."""
        options = self.options
        if options.fixed_logits:
            return (jnp.eye(size) * options.tied_keys).astype(self.dtype)[None, None]
        if options.keys == "infinite":
            return self._weights(subkey(key, 1), network, size, size)
        query = self._weights(subkey(key, 1), network, options.keys, size)
        other = query if options.tied_keys else self._weights(subkey(key, 2), network, options.keys, size)
        form = jnp.einsum("mhki,mhkj->mhij", query, other, precision="highest")
        return form / options.keys**options.key_scaling

    def _weights(self, key: jax.Array, network: jax.Array, rows: int, columns: int) -> jax.Array:
        """Standard normal matrices (networks, heads, rows, columns) in dtype."""
        drawn = jnp.stack(normals(key, network, self.heads * rows, columns), axis=-1).astype(self.dtype)
        return drawn.reshape(len(network), self.heads, rows, columns)

    def _head(self, x: Array) -> "Head":
        relevant = self.options.model_copy(update={"heads": 1, "values": 1, "width_is": "heads"})
        return head_averages(relevant, tuple(tuple(float(c) for c in row) for row in x))


@dataclass(frozen=True)
class Head:
    """Averages over one head, packed: E tr B (P,); sums over 3 pairings of Cov(tr B, tr B) and of E tr(B B), (Q,)."""

    kernel: Estimate
    between: Estimate
    within: Estimate


@lru_cache(maxsize=64)
def head_averages(options: Options, points: tuple[tuple[float, ...], ...]) -> Head:
    """Averages over the logits of one head at points (n_x, T d): no quadrature where they do not fluctuate.

    Logits depend on W_Q W_K^T projected on the span of the tokens, of dimension r: a Gaussian form for infinite keys;
    otherwise Bartlett's triangle L of W_K W_K^T = L L^T makes it G L^T with G Gaussian, or L L^T when tied.
    """
    x, n = np.array(points), len(points)
    left, scale, _ = np.linalg.svd(np.asarray(_tokens(x, options.tokens)), full_matrices=False)
    keep = scale > 1e-14 * scale[0]
    components = left[:, keep] * scale[keep]
    tokens = jnp.asarray(components.reshape(n, options.tokens, -1))
    r, (rows, columns) = tokens.shape[-1], multisets(n, 2).T

    @jax.jit
    def contributions(forms: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = _attended(forms, tokens, options.readout)
        B = jnp.einsum("mpsi,mpsj->mpij", y[:, rows], y[:, columns]) / y.shape[-2]
        B = (B + B.swapaxes(-1, -2)) / 2
        return jnp.trace(B, axis1=-2, axis2=-1), jnp.einsum("mpij,mqij->mpq", B, B)

    def integrand(forms: Array) -> tuple[Array, Array]:
        trace, product = contributions(jnp.asarray(forms))
        return np.asarray(trace), np.asarray(product).reshape(len(forms), -1)

    def summary(mean: Array, covariance: Array, product: Array) -> tuple[Array, ...]:
        return mean, sum_over_pairings(covariance, n), sum_over_pairings(product.reshape(covariance.shape), n)

    if options.fixed_logits:
        trace, product = integrand(np.eye(r)[None] * options.tied_keys)
        return Head(*(Estimate(v, 0 * v) for v in summary(trace[0], np.zeros((len(rows),) * 2), product[0])))
    size = n * options.tokens**2 + len(rows) * (r**2 + len(rows))
    limit = VALUES // size
    if options.keys == "infinite":
        amplitudes = np.outer(np.max(np.abs(components), axis=0), np.ptp(components, axis=0)).ravel()
        return Head(
            *gaussian_estimates(lambda g: integrand(g.reshape(-1, r, r)), summary, amplitudes, limit, smooth=True)
        )
    dimension, forms = _key_forms(options, r)
    return Head(*sobol_estimates(lambda u: integrand(forms(u)), summary, dimension, limit))


def _key_forms(options: Options, r: int) -> tuple[int, Callable[[Array], Array]]:
    """How many uniform variables make W_Q W_K^T / d_k^tau on r components, and how: (m, variables) -> (m, r, r)."""
    keys, tied = int(options.keys), options.tied_keys
    below = np.tril_indices(r, -1)

    def plain(u: Array) -> Array:
        weights = ndtri(u).reshape(len(u), -1, r, keys)
        return weights[:, 0] @ weights[:, -1].swapaxes(-1, -2) / keys**options.key_scaling

    def triangular(u: Array) -> Array:
        chi, normal, rest = np.split(u, [r, r + len(below[0])], axis=1)
        triangle = np.zeros((len(u), r, r))
        triangle[:, *np.diag_indices(r)] = np.sqrt(2 * gammaincinv((keys - np.arange(r)) / 2, chi))
        triangle[:, *below] = ndtri(normal)
        left = triangle if tied else ndtri(rest).reshape(-1, r, r)
        return left @ triangle.swapaxes(-1, -2) / keys**options.key_scaling

    if keys < r:
        return r * keys * (1 if tied else 2), plain
    return r + len(below[0]) + (0 if tied else r * r), triangular


def _tokens(x: Array | jax.Array, count: int) -> jax.Array:
    """All tokens of all points over sqrt(d): (n_x T, d) from points (n_x, T d)."""
    tokens = jnp.asarray(x).reshape(len(x) * count, -1)
    return tokens / np.sqrt(tokens.shape[1])


def _attended(forms: jax.Array, tokens: jax.Array, readout: str) -> jax.Array:
    """Y = softmax(tokens form tokens^T) tokens: (..., n_x, T or 1, r), averaged over s where the readout pools.

    forms (..., r, r), tokens (n_x, T, r).
    """
    logits = jnp.einsum("asi,...ij,atj->...ast", tokens, forms, tokens, precision="highest")
    attended = jnp.einsum("...ast,ati->...asi", jax.nn.softmax(logits, axis=-1), tokens, precision="highest")
    return attended.mean(axis=-2, keepdims=True) if readout == "pool" else attended
