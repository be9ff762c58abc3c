"""Client of a file system."""

from vmlab.roles import Role, register


@register
class Client(Role):
    """Mounts file systems."""

    name = "client"
    mounts = True
