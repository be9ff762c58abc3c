"""export: a bed in the form of other tools."""

from enum import StrEnum
from typing import Annotated

import typer

from vmlab.cli.options import Bed


class Kind(StrEnum):
    """What can be exported."""

    SSH_CONFIG = "ssh-config"
    ANSIBLE = "ansible"
    HOSTS = "hosts"
    XML = "xml"


def export(
    kind: Annotated[Kind, typer.Argument(metavar="ssh-config|ansible|hosts|xml", help="The form.")],
    bed: Bed,
) -> None:
    """Print a bed as ssh_config, Ansible inventory, /etc/hosts, XML.

    Nodes are called BED.NODE, so that files of several beds can be joined. Ansible's groups are the roles and the bed.

    \b
    Examples:
      vmlab export ssh-config ha > ha.ssh; ssh -F ha.ssh -L 8080:localhost:80 ha.oss1
      vmlab export ansible ha > ha.yaml; ansible -i ha.yaml oss -m raw -a uptime
      vmlab export hosts ha | sudo tee -a /etc/hosts
    """
    from vmlab.cli.target import at
    from vmlab.lab.beds import export as forms

    with at(bed) as (hosts, name):
        match kind:
            case Kind.SSH_CONFIG:
                text = forms.ssh(hosts, name)
            case Kind.ANSIBLE:
                text = forms.ansible(hosts, name)
            case Kind.HOSTS:
                text = forms.hosts_file(hosts, name)
            case Kind.XML:
                text = forms.xml(hosts, name)
    typer.echo(text, nl=False)
