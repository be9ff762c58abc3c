"""Lanes of actions, several in one call: what fails, or never ends, in one of them is that lane's affair."""

import threading

import libvirt
import pytest

from vmlab.domainxml.volume import Volume
from vmlab.errors import LibvirtError
from vmlab.plan.actions import Action, CreateVolume, StartDomain
from vmlab.values.identity import domain_uuid
from vmlab.virt import perform as module
from vmlab.virt.connection import Host
from vmlab.virt.deeds import Place, act
from vmlab.virt.observe import observe
from vmlab.virt.perform import Lane, perform_lanes
from vmlab.virt.pool import BEDS, ensure_pool


def create(number: int) -> CreateVolume:
    name = f"ha._lustre-OST{number:04x}.raw"
    return CreateVolume(name, None, "absent", Volume(name, 1 << 20, "raw"))


def start(node: str) -> StartDomain:
    return StartDomain(f"ha.{node}", node, "not running")


def test_a_lane_that_fails_ends_alone_and_is_named(host: Host) -> None:
    ensure_pool(host, BEDS)
    ended: list[Lane] = []
    lanes: list[Lane] = [[create(0)], [start("oss1"), create(1)], [create(2)], [start("oss2")], [create(3)]]
    with pytest.raises(LibvirtError) as caught:
        perform_lanes(host, lanes, failed="not all", end=ended.append)
    assert caught.value.message == "not all"
    told = [cause.message.partition(":")[0] for cause in caught.value.causes]
    assert told == ["start-domain ha.oss1", "start-domain ha.oss2"]
    assert sorted(observe(host).volumes) == [create(number).name for number in (0, 2, 3)]
    assert ended == [lanes[0], lanes[2], lanes[4]]


def test_lanes_that_come_in_between_have_domains_of_their_own(host: Host) -> None:
    names = [f"ha.oss{number}" for number in (1, 2)]

    def found(connection: libvirt.virConnect) -> list[str]:
        for name in names:
            id_ = domain_uuid(*name.split("."))
            xml = (
                f"<domain type='test'><name>{name}</name><uuid>{id_}</uuid><memory>1</memory><os><type>hvm</type></os>"
            )
            connection.defineXML(f"{xml}</domain>")
        place = Place(host, connection)
        return [place.domain(name).name() for name in (*names, *names, names[1], names[0])]

    assert host.call(found) == [*names, *names, names[1], names[0]]


def test_nothing_is_begun_after_a_call_that_took_too_long(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_pool(host, BEDS)
    comes_back, returned = threading.Event(), threading.Event()
    begun: list[str] = []
    make = module._Call._make

    def hanging(action: Action, place: Place) -> None:
        begun.append(action.name)
        if action.name == create(1).name:
            comes_back.wait(60)
        act(action, place)

    def whole(call: module._Call, connection: libvirt.virConnect) -> None:
        make(call, connection)
        returned.set()

    monkeypatch.setattr(module, "act", hanging)
    monkeypatch.setattr(module._Call, "_make", whole)
    monkeypatch.setattr(module, "CALL_S", 2.0)
    with pytest.raises(LibvirtError, match=rf"create-volume {create(1).name}: libvirt has not answered"):
        perform_lanes(host, [[create(0)], [create(1), create(2)], [create(3)]], failed="not all")
    comes_back.set()
    assert returned.wait(60)
    assert begun == [create(0).name, create(1).name]
