import sys
import traceback
from pathlib import Path
import numpy as np
import aesara, aesara.tensor as at
import aesara.sparse as sparse
import scipy.sparse
from aesara_export import export
import __main__
import aes_sparse, aes_random
GRAPHS=__main__.GRAPHS

def main(args):
    folder=Path(args[0]); folder.mkdir(exist_ok=True)
    names=args[1:] or list(GRAPHS)
    failed=0
    for name in names:
        try:
            pairs, outputs, *fns = GRAPHS[name]()
            inputs=[v for v,_ in pairs]
            listed=outputs if isinstance(outputs,(list,tuple)) else [outputs]
            export(folder/(name+".aesara"), inputs, outputs)
            fn=fns[0] if fns else aesara.function(inputs, list(listed), on_unused_input="ignore", allow_input_downcast=False)
            res=fn(*[value for _,value in pairs])
        except Exception as e:
            failed+=1
            print("FAILED", name, type(e).__name__, str(e).splitlines()[:2]); continue
        arrays={}
        for k,(_,v) in enumerate(pairs): arrays[f"in{k}"]=v.toarray() if scipy.sparse.issparse(v) else v
        for k,v in enumerate(res): arrays[f"out{k}"]=v.toarray() if scipy.sparse.issparse(v) else v
        np.savez(folder/(name+".npz"), **arrays)
    print(len(names), "graphs", failed, "failed")
