"""Random variables: two thousand independent draws each."""

import aesara
import aesara.tensor as at
import numpy as np
from aesara.tensor.random.op import RandomState, default_rng
from aesara.tensor.random.utils import RandomStream

from aesara_graphs import GRAPHS, graph

N = 2000

# By name: the parameters, of which floats are float64.
DISTRIBUTIONS = {
    "uniform": (-1.0, 2.5),
    "triangular": (-1.0, 0.5, 2.0),
    "beta": (0.5, 2.0),
    "normal": (1.0, 2.5),
    "halfnormal": (0.5, 2.0),
    "lognormal": (0.3, 0.6),
    "gamma": (2.5, 3.0),
    "chisquare": (3.0,),
    "pareto": (2.5, 1.5),
    "gumbel": (0.5, 2.0),
    "exponential": (2.5,),
    "weibull": (1.7,),
    "logistic": (0.5, 2.0),
    "vonmises": (0.5, 2.0),
    "poisson": (3.5,),
    "geometric": (0.3,),
    "hypergeometric": (10, 7, 6),
    "cauchy": (0.5, 2.0),
    "halfcauchy": (0.5, 2.0),
    "invgamma": (3.0, 2.0),
    "wald": (1.5, 2.0),
    "truncexpon": (1.5, 0.5, 2.0),
    "t": (4.0, 0.5, 2.0),
    "bernoulli": (0.3,),
    "laplace": (0.5, 2.0),
    "binomial": (10, 0.3),
    "nbinom": (5, 0.4),
    "betabinom": (10, 1.5, 2.5),
    "gengamma": (2.0, 3.0, 1.5),
    "rayleigh": (2.0,),
    "power": (2.5,),
    "f": (5.0, 8.0),
    "integers": (2, 9),
    "standard_normal": (),
}
# A batch of these makes Aesara's own samplers fail.
NO_BATCH = ("hypergeometric", "integers", "standard_normal")
P = np.array([0.2, 0.5, 0.3])
MEAN, COVARIANCE = np.array([0.5, -1.0]), np.array([[1.0, 0.3], [0.3, 0.5]])
ALPHA, CHOICES = np.array([0.5, 1.0, 2.0]), np.array([1.5, 2.5, 9.0])


def register(name, fn):
    """Register draws from a stream: ``fn`` takes the stream."""

    def build():
        return [], fn(RandomStream(seed=len(GRAPHS)))

    GRAPHS["random_" + name] = build


def wide(parameter):
    return np.float64(parameter) if isinstance(parameter, float) else parameter


def sized(name, parameters):
    return lambda rng: getattr(rng, name)(*map(wide, parameters), size=(N,))


def batched(name, parameters):
    """The size is that of the first parameter."""
    first, *rest = map(wide, parameters)
    return lambda rng: getattr(rng, name)(at.alloc(first, N), *rest)


for name, parameters in DISTRIBUTIONS.items():
    register(name, sized(name, parameters))
    if name not in NO_BATCH:
        register(name + "_batch", batched(name, parameters))

OTHERS = {
    "float32": lambda rng: rng.gamma(np.float32(2), np.float32(3), size=(N,)),
    "multivariate_normal": lambda rng: rng.multivariate_normal(
        MEAN, COVARIANCE, size=(N,)
    ),
    "multivariate_normal_batch": lambda rng: rng.multivariate_normal(
        at.alloc(MEAN, N, 2), COVARIANCE
    ),
    "dirichlet": lambda rng: rng.dirichlet(ALPHA, size=(N,)),
    "dirichlet_batch": lambda rng: rng.dirichlet(at.alloc(ALPHA, N, 3), size=(N,)),
    "multinomial": lambda rng: rng.multinomial(10, P, size=(N,)),
    "categorical": lambda rng: rng.categorical(P, size=(N,)),
    "categorical_batch": lambda rng: rng.categorical(at.alloc(P, N, 3)),
    "choice": lambda rng: rng.choice(CHOICES, size=(N,)),
    "choice_p": lambda rng: rng.choice(CHOICES, size=(N,), p=P),
    "choice_no_replacement": lambda rng: rng.choice(
        np.arange(2000.0), size=(1500,), replace=False
    ),
    "permutation": lambda rng: rng.permutation(np.arange(2000.0)),
    "permutation_int": lambda rng: rng.permutation(2000),
}
for name, fn in OTHERS.items():
    register(name, fn)


@graph
def random_hierarchy():
    rng = RandomStream(1)
    tau = rng.halfcauchy(0.0, 1.0, size=(N,))
    scale = rng.halfnormal(0.0, 2.0, size=(N,))
    return [], [tau, scale, rng.normal(at.as_tensor(np.zeros(N)), tau * scale)]


@graph
def random_stream():
    return [], RandomStream(7).normal(1.0, 2.0, size=(N,))


@graph
def random_state():
    """The older generator of NumPy, with its name for `integers`."""
    rng = RandomStream(2, rng_ctor=np.random.RandomState)
    return [], [rng.normal(0, 1, size=(N,)), rng.randint(2, 9, size=(N,))]


@graph
def random_chain():
    """Two draws along one generator, and what they have to do with each other."""
    rng = aesara.shared(np.random.default_rng(3), name="rng")
    following, a = at.random.normal(0, 1, size=(N,), rng=rng).owner.outputs
    b = at.random.normal(a, 1, rng=following)
    return [], [a, b, b - a]


@graph
def random_seeded():
    return [], at.random.gamma(2.0, 3.0, size=(N,), rng=default_rng(3))


@graph
def random_seeded_state():
    return [], at.random.normal(2.0, 3.0, size=(N,), rng=RandomState(3))


@graph
def random_scan():
    rng = RandomStream(5)

    def step(state):
        return 0.5 * state + rng.normal(0, 1, size=(N,))

    return [], aesara.scan(step, outputs_info=[at.zeros(N)], n_steps=3)[0][-1]


@graph
def random_symbolic_size():
    n = at.lscalar("n")
    return [(n, np.array(N))], RandomStream(6).normal(1.0, 2.0, size=(n,))
