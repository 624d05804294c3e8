"""Measurements of deep perceptrons for tests."""

import numpy as np

from nnqft.criticality.propagation import PropagationSpec, propagation_block, reference
from nnqft.criticality.propagation_estimates import estimates


def block(spec, C_W, C_b, kernel, seed=1, burn=None, window=None):
    """(sums, reference)."""
    kernel = np.atleast_2d(np.asarray(kernel, dtype=np.float64))
    known = reference(spec, np.sqrt(C_W), np.sqrt(C_b), kernel)
    key = np.array([seed, 77], dtype=np.uint32)
    law = kernel, known.centre, np.sqrt(C_W), np.sqrt(C_b)
    burn, window = known.burn if burn is None else burn, known.window if window is None else window
    return propagation_block(spec, key, *law, burn, window, known.tables), known


def measured(activation, C_W, C_b, kernel, width, depth, networks, seed=1, subbatches=32):
    """Estimates by name."""
    kernel = np.atleast_2d(np.asarray(kernel, dtype=np.float64))
    spec = PropagationSpec(activation, len(kernel), width, depth, networks, subbatches)
    sums, known = block(spec, C_W, C_b, kernel, seed)
    return estimates(spec, sums, spec.counts, known)


def pull(found, expected, index=..., allowance=0.0):
    """(value - expected) over the error and the allowance for what the expectation leaves out."""
    return (found.value[index] - expected) / np.hypot(found.stderr[index], allowance)
