"""Object storage server."""

from vmlab.roles import Role, register


@register
class Oss(Role):
    """Serves OSTs."""

    name = "oss"
    serves = frozenset({"OST"})
