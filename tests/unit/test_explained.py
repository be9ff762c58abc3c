"""What libvirt refused, with the next thing to type."""

from vmlab.errors import LibvirtError
from vmlab.plan.actions import StartDomain
from vmlab.virt.perform import _explained


def test_pages_without_a_place_are_given_one() -> None:
    refused = LibvirtError("libvirt: internal error: Unable to find any usable hugetlbfs mount for 1048576 KiB")
    told = _explained(StartDomain("ha.oss1", "oss1", "it is off"), refused)
    assert told.message.startswith("start-domain ha.oss1: internal error: Unable to find")
    assert told.hint == (
        "mkdir -p /dev/hugepages-1GiB && mount -t hugetlbfs -o pagesize=1048576K hugetlbfs /dev/hugepages-1GiB "
        "&& systemctl restart libvirtd"
    )
