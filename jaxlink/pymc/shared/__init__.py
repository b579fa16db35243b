"""What the functions of all rooms share: arguments, DataTrees, progress."""
