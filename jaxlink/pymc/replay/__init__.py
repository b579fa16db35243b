"""One draw of a run, computed again."""
