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
    PROMETHEUS = "prometheus"
    LUSTRE_CFG = "lustre-cfg"


def export(
    kind: Annotated[
        Kind, typer.Argument(metavar="ssh-config|ansible|hosts|xml|prometheus|lustre-cfg", help="The form.")
    ],
    bed: Bed,
) -> None:
    """Print a bed for ssh, Ansible, Prometheus or Lustre's tests.

    Nodes are called BED.NODE, so that files of several beds can be joined. Ansible's groups are the roles and the bed.
    Prometheus gets the last run of each workload, also of a bed that is down. Lustre's tests get their framework's cfg
    file, which belongs at the same path on all nodes; they format the bed's disks.

    \b
    Examples:
      vmlab export ssh-config ha > ha.ssh; ssh -F ha.ssh -L 8080:localhost:80 ha.oss1
      vmlab export ansible ha > ha.yaml; ansible -i ha.yaml oss -m raw -a uptime
      vmlab export hosts ha | sudo tee -a /etc/hosts
      vmlab export prometheus ha > /var/lib/node_exporter/textfile/ha.prom
      vmlab export lustre-cfg ha > ha.sh; vmlab cp ha.sh @mds,@oss,@client:/root/
    """
    from vmlab.cli.target import at, described
    from vmlab.lab.beds import export as forms

    if kind is Kind.PROMETHEUS:
        typer.echo(_measured(bed), nl=False)
        return
    if kind is Kind.LUSTRE_CFG:
        with described(bed) as (hosts, topology):
            typer.echo(forms.lustre_cfg(hosts, topology), nl=False)
        return
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


def _measured(bed: str) -> str:
    from vmlab.cli.selecting import chosen
    from vmlab.cli.target import is_file, load
    from vmlab.errors import UsageError
    from vmlab.records.selection import Selection
    from vmlab.report.prometheus import exposition

    name = load(bed).name if is_file(bed) else bed
    last = {record.workload: record for record in chosen((), Selection(beds=frozenset({name})))}
    if not last:
        raise UsageError(f"of {name} there are no runs", hint=f"vmlab run {name} WORKLOAD")
    return exposition(tuple(last.values()))
