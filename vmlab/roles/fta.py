"""File transfer agent: a client that carries data between Lustre and elsewhere."""

from vmlab.roles import Role, register


@register
class Fta(Role):
    """A client to Lustre; what it transfers with is the image's business."""

    name = "fta"
    mounts = True
