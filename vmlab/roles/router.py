"""LNet router: forwards between its networks, and needs nothing of Lustre but LNet."""

from vmlab.roles import Role, register


@register
class Router(Role):
    """That it forwards is in its LNet configuration."""

    name = "router"
