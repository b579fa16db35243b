"""Code that the other packages share: arguments, DataTrees, progress."""
