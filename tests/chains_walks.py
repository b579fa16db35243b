"""Functions of a key that the tests of chains run, also in other processes."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np


def walk(key, scale, start=0.0):
    """A random walk, and a key that it hands on."""
    first, after = jax.random.split(key)
    return {"walk": start + scale * jax.random.normal(first, (5,)).cumsum(), "k": after}


def on_host(act):
    """A walk that acts on its first step, on the host."""

    def fn(key):
        x = jax.random.normal(key, (4,))
        seen = jax.ShapeDtypeStruct((), x.dtype)
        return x.cumsum() + 0 * jax.pure_callback(act, seen, x[0])

    return fn


def fail_below(bound):
    def act(x):
        if x < bound:
            raise RuntimeError(f"no step to {x:.2f}")
        return np.asarray(x)

    return on_host(act)


def die_below(bound):
    """Ends its process without a word."""

    def act(x):
        if x < bound:
            os._exit(1)
        return np.asarray(x)

    return on_host(act)


def default_to_rbg():
    jax.config.update("jax_default_prng_impl", "rbg")


def main(directory):
    """Slow chains, kept in a directory."""
    from time import sleep

    from jaxlink import run_chains

    def act(x):
        sleep(0.05)
        return np.asarray(x)

    print("ready", flush=True)
    fn = on_host(act)
    run_chains(fn, jax.random.key(3), 20, method="map", kept=directory)
    print("finished", flush=True)


if __name__ == "__main__":
    jnp.zeros(())  # starts JAX
    main(sys.argv[1])
