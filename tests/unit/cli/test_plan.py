"""A plan for people."""

from vmlab.plan.actions import Action, CreateVolume, Plan, RemoveNetwork, RemoveVolume, UndefineDomain
from vmlab.report import plan


def kinds(parent: type[Action]) -> list[type[Action]]:
    return [kind for child in parent.__subclasses__() for kind in (child, *kinds(child))]


def test_each_kind_of_action_has_a_sign() -> None:
    assert CreateVolume in kinds(Action)
    for kind in kinds(Action):
        assert kind.kind.partition("-")[0] in plan._SIGNS


def test_what_down_removes_in_few_lines() -> None:
    lanes = {
        f"oss{n}": (
            UndefineDomain(f"ha.oss{n}", f"oss{n}", "down"),
            RemoveVolume(f"ha.oss{n}.root.qcow2", f"oss{n}", "down"),
            RemoveVolume(f"ha.oss{n}.seed.iso", f"oss{n}", "down"),
        )
        for n in range(1, 21)
    }
    lines = plan.removal_lines("ha", [Plan((RemoveNetwork("ha.mgmt", None, "down"),), (), lanes)])
    assert lines[:3] == ["ha: this goes:", "  nodes: oss[1-20]", "  networks: ha.mgmt"]
    assert lines[3].startswith("  disks: ha.oss1.root.qcow2, ")
    assert lines[3].endswith(" and 8 more")


def test_nothing_to_remove_is_no_line() -> None:
    assert plan.removal_lines("ha", [Plan()]) == []
