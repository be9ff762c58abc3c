"""What a console printed in earlier starts stays, whoever starts the node. Nothing is started here."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Interface

import libvirt
import pytest

from vmlab.domainxml.metadata import Address, NodeMetadata
from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.plan.actions import RemoveVolume
from vmlab.values import identity
from vmlab.virt import kept_consoles
from vmlab.virt.connection import Host, connected
from vmlab.virt.kept_consoles import KEPT, consoles, put_aside
from vmlab.virt.observe import observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, ensure_pool, find_pool, write_volume

MGMT = Address("mgmt", "management", "virtio", "mgmt", "52:54:00:00:00:01", IPv4Interface("10.0.0.1/24"))
NODE = NodeMetadata("t-consoles", "n1", ("oss",), "demo", "root", "", (MGMT,))


@pytest.fixture
def host() -> Iterator[Host]:
    with connected(DEFAULT_URI) as host:
        ensure_pool(host, BEDS)
        yield host
        for name in observe(host).bed(NODE.bed).volumes:
            perform(host, RemoveVolume(name, None, "the test is over"))


def start(host: Host, printed: str) -> None:
    """libvirt begins the log anew, and the guest prints."""
    log = identity.console_volume(NODE.bed, NODE.node)

    def act(connection: "libvirt.virConnect") -> None:
        put_aside(host, connection, NODE)
        pool = find_pool(connection, BEDS)
        assert pool is not None
        pool.refresh()
        if log in pool.listVolumes():
            pool.storageVolLookupByName(log).delete()
        if printed:
            write_volume(pool, log, printed.encode())

    host.call(act)


@pytest.mark.parametrize("may_write", [True, False])
def test_the_consoles_of_the_last_starts_are_kept(host: Host, monkeypatch: pytest.MonkeyPatch, may_write: bool) -> None:
    real = os.access
    monkeypatch.setattr(kept_consoles.os, "access", lambda path, how: may_write and real(path, how))
    for number in range(KEPT + 3):
        start(host, f"start {number}\n")
    assert [said for _, said in consoles(host, NODE, 0)] == ["start 10\n"]
    assert [said for _, said in consoles(host, NODE, 2)] == ["start 8\n", "start 9\n", "start 10\n"]
    start(host, "")
    start(host, "")  # one that printed nothing leaves nothing
    found = consoles(host, NODE, 100)
    assert [said for _, said in found] == [f"start {number}\n" for number in range(3, 11)] + [""]
    ends = [until for until, _ in found[:-1] if until is not None]
    assert ends == sorted(set(ends))
    assert {identity.owner_of(name) for name in observe(host).bed(NODE.bed).volumes} == {(NODE.bed, NODE.node)}
