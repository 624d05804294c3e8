"""Networks: law, map, samplers, and their exact or perturbative prediction.

Importing them turns on 64-bit JAX and gives XLA's CPU client one thread: with more of them it splits long sums, and the
last bits of a block would depend on the number of cores. Parallelism comes from worker processes instead.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # LAPACK's threads cost more than small matrices do
os.environ["NPROC"] = "1"  # read when the CPU client starts, at the first computation

import jax

jax.config.update("jax_enable_x64", True)
