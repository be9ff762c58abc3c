"""Small immutable values with `parse` and `str`: parse at the edge, compare values inside."""
