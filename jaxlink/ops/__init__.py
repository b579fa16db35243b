"""Our own Ops: rewrites insert them, and dispatch has their rules."""
