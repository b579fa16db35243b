import numpy as np, aesara, aesara.tensor as at
from aesara.tensor.random.utils import RandomStream
from __main__ import GRAPHS, graph, register, of
N=2000
def rand(name, fn):
    def build():
        srng=RandomStream(seed=sum(map(ord,name)))
        return [], fn(srng)
    GRAPHS["random_"+name]=build
P=np.array([0.2,0.5,0.3])
C2=np.array([[1.0,0.3],[0.3,0.5]])
ROWS={
 "uniform":(-1.0,2.5),"triangular":(-1.0,0.5,2.0),"beta":(0.5,2.0),"normal":(1.0,2.5),"halfnormal":(0.5,2.0),
 "lognormal":(0.3,0.6),"gamma":(2.5,3.0),"chisquare":(3.0,),"pareto":(2.5,1.5),"gumbel":(0.5,2.0),"exponential":(2.5,),
 "weibull":(1.7,),"logistic":(0.5,2.0),"vonmises":(0.5,2.0),"poisson":(3.5,),"geometric":(0.3,),"hypergeometric":(10,7,6),
 "cauchy":(0.5,2.0),"halfcauchy":(0.5,2.0),"invgamma":(3.0,2.0),"wald":(1.5,2.0),"truncexpon":(1.5,0.5,2.0),"t":(4.0,0.5,2.0),
 "bernoulli":(0.3,),"laplace":(0.5,2.0),"binomial":(10,0.3),"nbinom":(5,0.4),"betabinom":(10,1.5,2.5),"gengamma":(2.0,3.0,1.5),
 "rayleigh":(2.0,),"power":(2.5,),"f":(5.0,8.0),"integers":(2,9),"standard_normal":(),
}
for name,params in ROWS.items():
    rand(name, lambda r,n=name,p=params: getattr(r,n)(*[np.float64(x) if isinstance(x,float) else x for x in p], size=(N,)))
    if params and name not in ("hypergeometric","integers"):
        rand(name+"_batch", lambda r,n=name,p=params: getattr(r,n)(*[at.alloc(np.float64(x) if isinstance(x,float) else x,N) if k==0 else x for k,x in enumerate(p)]))
rand("multivariate_normal", lambda r: r.multivariate_normal(np.array([0.5,-1.0]), C2, size=(N,)))
rand("multivariate_normal_batch", lambda r: r.multivariate_normal(at.alloc(np.array([0.5,-1.0]),N,2), C2))
rand("dirichlet", lambda r: r.dirichlet(np.array([0.5,1.0,2.0]), size=(N,)))
rand("dirichlet_batch", lambda r: r.dirichlet(at.alloc(np.array([0.5,1.0,2.0]),N,3), size=(N,)))
rand("multinomial", lambda r: r.multinomial(10, P, size=(N,)))
rand("categorical", lambda r: r.categorical(P, size=(N,)))
rand("categorical_batch", lambda r: r.categorical(at.alloc(P,N,3)))
rand("choice", lambda r: r.choice(np.array([1.5,2.5,9.0]), size=(N,), p=P))
rand("choice_uniform", lambda r: r.choice(np.array([1.5,2.5,9.0]), size=(N,)))
rand("choice_no_replacement", lambda r: r.choice(np.arange(2000.), size=(1500,), replace=False))
rand("permutation", lambda r: r.permutation(np.arange(2000.)))
rand("permutation_int", lambda r: r.permutation(2000))
rand("float32", lambda r: r.normal(np.float32(0),np.float32(1),size=(N,), dtype="float32") if False else r.gamma(np.float32(2),np.float32(3),size=(N,)))
rand("hierarchy", lambda r: (lambda tau,lam: [tau, lam, r.normal(at.as_tensor(np.zeros(N)), tau*lam)])(r.halfcauchy(0.0,1.0,size=(N,)), r.halfnormal(0.0,2.0,size=(N,))))
@graph
def random_state():
    srng=RandomStream(3, rng_ctor=np.random.RandomState)
    return [], [srng.normal(0,1,size=(N,)), srng.randint(2,9,size=(N,))]
@graph
def random_chain():
    rng=aesara.shared(np.random.default_rng(3),name="rng")
    n1,a=at.random.normal(0,1,size=(N,),rng=rng).owner.outputs
    n2,b=at.random.normal(a,1,rng=n1).owner.outputs
    return [], [a,b,a-b]
@graph
def random_seeded():
    from aesara.tensor.random.op import default_rng
    rng=default_rng(3)
    return [], at.random.gamma(2.0,3.0,size=(N,),rng=rng)
@graph
def random_scan():
    srng=RandomStream(5)
    x,u=aesara.scan(lambda s: 0.5*s+srng.normal(0,1,size=(N,)), outputs_info=[at.zeros(N)], n_steps=3)
    return [], x[-1]
@graph
def random_symbolic_size():
    srng=RandomStream(5); n=at.lscalar("n")
    return [(n,np.array(N))], srng.normal(1.0,2.0,size=(n,))
