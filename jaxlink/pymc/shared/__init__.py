"""What all rooms share: checks of arguments, seeds, DataTrees, progress bars."""
