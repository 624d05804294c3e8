"""Networks: law, map, samplers, and their exact or perturbative prediction. Importing them turns on 64-bit JAX."""

import jax

jax.config.update("jax_enable_x64", True)
