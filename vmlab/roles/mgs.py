"""Management server: it knows which targets there are, and tells everybody."""

from vmlab.roles import Role, register


@register
class Mgs(Role):
    """Serves an MGT of its own; an MGT may also lie with an MDS."""

    name = "mgs"
    serves = frozenset({"MGT"})
