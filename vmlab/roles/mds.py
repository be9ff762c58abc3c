"""Metadata server."""

from vmlab.roles import Role, register


@register
class Mds(Role):
    """Serves MDTs, and an MGT where there is no node for that alone."""

    name = "mds"
    serves = frozenset({"MGT", "MDT"})
