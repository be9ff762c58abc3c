"""Who has an address already: ARP probes on an interface of this machine, as RFC 5227 has them; and pings."""

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address

from vmlab.errors import HostError
from vmlab.runtime.parallel import each
from vmlab.runtime.process import run
from vmlab.runtime.wait import Deadline, sleep

_PROTOCOL = 0x0806
_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST = 1, 0x0800, 1
_BROADCAST, _NOBODY, _NOWHERE = b"\xff" * 6, bytes(6), bytes(4)
_OUTGOING = 4  # PACKET_OUTGOING of linux/if_packet.h: our own frames come by, too
# As often as RFC 5227 probes, at its shortest pause: a whole bed waits.
_PROBES, _PAUSE_S = 3, 1.0
_POLL_S = 0.02
_PING_JOBS = 32


def answering(interface: str, addresses: Collection[IPv4Address]) -> dict[IPv4Address, str]:
    """Those of the addresses that somebody in the interface's network has, or is about to take, with his MAC address.

    Those of this machine itself are told as "this host". Takes three seconds. Raises HostError where nobody can look:
    without the right to, or on an interface that is down.
    """
    found = {address: "this host" for address in addresses if _own(address)}
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_PROTOCOL)) as wire:
            wire.bind((interface, _PROTOCOL))
            wire.settimeout(0)
            mac: bytes = wire.getsockname()[4]
            for _ in range(_PROBES):
                for address in addresses:
                    wire.send(_probe(mac, address))
                pause = Deadline.after(_PAUSE_S)
                while not pause.passed:
                    found |= dict(_heard(wire, mac, addresses))
                    sleep(_POLL_S)
    except OSError as error:
        raise HostError(f"nobody could look on {interface}: {error.strerror}") from error
    return found


def pinged(addresses: Collection[IPv4Address]) -> dict[IPv4Address, str]:
    """Those that answer a ping: for networks without ARP that we can speak, where this machine has an address."""

    def ask(address: IPv4Address) -> bool:
        return _own(address) or run(("ping", "-n", "-c", "2", "-W", "1", str(address)), deadline_s=10).ok

    answers = each(ask, addresses, jobs=_PING_JOBS, failed="not all addresses could be pinged")
    return {address: "a ping" for address, answer in zip(addresses, answers, strict=True) if answer}


def _own(address: IPv4Address) -> bool:
    """It is this machine's: nobody else can bind it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        try:
            here.bind((str(address), 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


def _probe(mac: bytes, address: IPv4Address) -> bytes:
    """From nobody's address, so that no cache learns of it."""
    return _FRAME.pack(
        *(_BROADCAST, mac, _PROTOCOL, _ETHERNET, _IPV4, 6, 4, _REQUEST, mac, _NOWHERE, _NOBODY, address.packed)
    )


def _heard(wire: socket.socket, mac: bytes, addresses: Collection[IPv4Address]) -> Iterator[tuple[IPv4Address, str]]:
    """Who says that an address is his, or probes for it as we do."""
    while True:
        try:
            frame, (_, _, kind, *_) = wire.recvfrom(2048)
        except BlockingIOError:
            return
        if kind == _OUTGOING or len(frame) < _FRAME.size:
            continue
        *_, sender, source, _, target = _FRAME.unpack_from(frame)
        claimed = IPv4Address(target if source == _NOWHERE else source)
        if claimed in addresses and sender != mac:
            yield claimed, sender.hex(":")
