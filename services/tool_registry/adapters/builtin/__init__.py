"""Tools that run in this process, each in microseconds, so that the loop is never kept."""
