"""A node to build software on."""

from typing_extensions import override

from vmlab.roles import Member, Role, register
from vmlab.steps import Step


@register
class Build(Role):
    """Lustre is not loaded here: its modules may be what is built."""

    name = "build"

    @override
    def configure(self, member: Member) -> tuple[Step, ...]:
        del member
        return ()

    @override
    def reach(self, member: Member) -> tuple[Step, ...]:
        del member
        return ()
