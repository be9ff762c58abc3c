"""export: a bed in the form of other tools."""

from enum import StrEnum
from typing import Annotated

import typer

from vmlab.cli.options import Bed


class Kind(StrEnum):
    """What can be exported."""

    SSH_CONFIG = "ssh-config"
    HOSTS = "hosts"
    XML = "xml"


def export(
    kind: Annotated[Kind, typer.Argument(metavar="ssh-config|hosts|xml", help="The form.")],
    bed: Bed,
) -> None:
    """Print a bed as ssh_config, /etc/hosts lines or XML.

    \b
    Examples:
      vmlab export ssh-config ha > ha.ssh; ssh -F ha.ssh oss1
      vmlab export hosts ha | sudo tee -a /etc/hosts
    """
    from vmlab.cli.target import at
    from vmlab.lab.beds import export as forms

    with at(bed) as (hosts, name):
        match kind:
            case Kind.SSH_CONFIG:
                text = forms.ssh(hosts, name)
            case Kind.HOSTS:
                text = forms.hosts_file(hosts, name)
            case Kind.XML:
                text = forms.xml(hosts, name)
    typer.echo(text, nl=False)
