"""Runs that nobody made: series by formulas, in the shape of set-ups that others published. Nothing is measured."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunCommand, RunHost, RunNode, RunRecord

BANDWIDTH = Metric("bandwidth", "MiB/s", "higher", "bandwidth")
IOPS = Metric("iops", "IOPS", "higher", "bandwidth")
LATENCY = Metric("latency", "us", "lower", "latency")
SIZES = tuple(1 << power for power in range(1, 24))
KIB, MIB = 1 << 10, 1 << 20
_Figure = tuple[Metric, Mapping[str, object], float]


def trials(figures: Iterable[_Figure], count: int = 3, spread: float = 0.03) -> tuple[Sample, ...]:
    """The same figures again and again, each time a little different; the spread is from the least to the most."""
    found = []
    for number, (metric, labels, value) in enumerate(figures):
        for trial in range(1, count + 1):
            swing = ((trial + number) % count) / (count - 1) - 0.5 if count > 1 else 0.0
            texts = {key: str(text) for key, text in labels.items()}
            found.append(Sample(metric, value * (1 + spread * swing), texts, trial))
    return tuple(found)


def node(name: str, cpus: Sequence[int] = (), *roles: str, pinned: bool = True, **more: Any) -> RunNode:
    vcpus = {str(n): (cpu,) if pinned else tuple(cpus) for n, cpu in enumerate(cpus)}
    about: dict[str, Any] = {"kernel": "6.1.0-simulated", "packages": {"tool": "1.0"}, "addresses": {}}
    more = {"image": "" if more.get("where") == "bare" else "demo", "devices": {}} | more
    return RunNode(name, roles or ("client",), **about, vcpus=vcpus, **more)


def host(nodes: Sequence[RunNode], name: str = "simulated-host", **more: Any) -> RunHost:
    about: dict[str, Any] = {
        "cpu": "Simulated CPU",
        "cpus": 24,
        "memory_kib": 48 << 20,
        "kernel": "6.1.0-simulated",
        "libvirt": "9.0.0",
        "hypervisor": "QEMU 7.2.0",
        "hcas": {},
        "numastat": {},
        "remote_memory": {},
    }
    return RunHost(name=name, nodes=tuple(one.name for one in nodes), **about | more)


def run(samples: Sequence[Sample], *, bed: str = "simulated", number: int = 1, **more: Any) -> RunRecord:
    at = f"2026-08-{number:02}T02:00:00+00:00"
    nodes = more.pop("nodes", (node("client1", (2, 3)), node("oss1", (4, 5), "oss")))
    about: dict[str, Any] = {
        "id": f"202608{number:02}T020000Z-{bed}-{more.get('workload', 'simulation')}",
        "workload": "simulation",
        "options": {},
        "accel": "kvm",
        "soft": False,
        "vmlab": "0.1.0",
        "started": at,
        "ended": at,
        "commands": (),
        "problems": (),
        "faults": (),
        "skipped": (),
        "hosts": (host([one for one in nodes if one.where == "vm"]),),
        "trials": max((sample.trial for sample in samples), default=1),
    }
    return RunRecord(bed=bed, nodes=tuple(nodes), samples=tuple(samples), **about | more)


def rdma_curves(top: float = 3200.0) -> RunRecord:
    """1: bandwidth and latency over message size, guests and host on top of each other."""
    figures: list[_Figure] = []
    for verb, share in (("write", 1.0), ("read", 0.9)):
        for on, factor, late in (("vm", 0.99, 1.04), ("host", 1.0, 1.0)):
            for size in SIZES:
                labels = {"from": "client1", "to": "oss1", "verb": verb, "on": on, "size": size}
                figures.append((BANDWIDTH, labels, top * share * factor * size / (size + 4096)))
                figures.append((LATENCY, labels, (1.2 / share + size / (top * share)) * late))
    hcas = {"mlx4_0": "DEL0A00000 firmware 2.9, 40 Gb/sec (4X QDR)"}
    nodes = (node("client1", (2, 3)), node("oss1", (4, 5), "oss"))
    return run(trials(figures, spread=0.01), nodes=nodes, hosts=(host(nodes, hcas=hcas),))


def rdma_table() -> RunRecord:
    """1: bandwidth of each guest and of the host."""
    names = [f"vm0{number}" for number in range(1, 5)]
    figures = [
        (BANDWIDTH, {"from": name, "on": on, "size": 65536}, 3000.0 * share + 5 * place)
        for place, name in enumerate(names)
        for on, share in (("vm", 0.99), ("host", 1.0))
    ]
    return run(trials(figures, spread=0.02), nodes=tuple(node(name, (place,)) for place, name in enumerate(names)))


def selftest(guests: int = 4, bare: int = 4) -> RunRecord:
    """1: LNet selftest from clients that are guests and from bare ones at once, of all and of each kind."""
    asking = {"vm": [f"client{n}" for n in range(1, guests + 1)], "bare": [f"metal{n}" for n in range(1, bare + 1)]}
    labels = {"from": f"client[1-{guests}],metal[1-{bare}]", "to": "oss[1-4]", "concurrency": 8, "size": MIB}
    figures: list[_Figure] = []
    for test in ("read", "write"):
        each = {"vm": 2940.0 * guests, "bare": 2970.0 * bare}
        for on, value in ({"bare+vm": sum(each.values())} | each).items():
            figures.append((BANDWIDTH, {**labels, "test": test, "group": "from", "on": on}, value))
        figures.append((BANDWIDTH, {**labels, "test": test, "group": "to", "on": "bare+vm"}, sum(each.values())))
    nodes = [node(name, (n,)) for n, name in enumerate(asking["vm"])]
    nodes += [node(name, where="bare") for name in asking["bare"]]
    nodes += [node(f"oss{n}", (7 + n,), "oss") for n in range(1, 5)]
    return run(trials(figures, spread=0.02), nodes=nodes, bed="selftest")


def survey() -> RunRecord:
    """1: obdfilter-survey on two servers, each alone and both at once."""
    rates = {"write": 2480.0, "rewrite": 2500.0, "read": 2575.0}
    figures = [
        (BANDWIDTH, {"nodes": nodes, "operation": operation, "objects": 8, "threads": 64}, rate * factor)
        for nodes, factor in (("vm01", 1.0), ("vm02", 1.0), ("vm[01-02]", 1.95))
        for operation, rate in rates.items()
    ]
    nodes = [node(f"vm0{n}", range(6 * n - 6, 6 * n), "oss") for n in (1, 2)]
    return run(trials(figures, spread=0.02), nodes=nodes, bed="survey")


def survey_of_threads() -> RunRecord:
    """The same over numbers of threads."""
    figures = [
        (
            BANDWIDTH,
            {"nodes": nodes, "operation": operation, "threads": threads},
            2500.0 * factor * share * threads / (threads + 4),
        )
        for nodes, factor in (("vm01", 1.0), ("vm02", 0.98), ("vm[01-02]", 1.95))
        for operation, share in (("write", 0.9), ("rewrite", 0.95), ("read", 1.0))
        for threads in (1, 2, 4, 8, 16, 32, 64)
    ]
    nodes = [node(f"vm0{n}", range(6 * n - 6, 6 * n), "oss") for n in (1, 2)]
    return run(trials(figures, spread=0.02), nodes=nodes, bed="survey")


def seven_clients() -> tuple[RunRecord, ...]:
    """1: IOR from seven clients against virtual servers, against physical ones, and against twice as many."""
    found = []
    for number, (bed, factor) in enumerate((("virtual", 1.0), ("physical", 1.0), ("four-servers", 1.98)), 1):
        labels = {"nodes": "client[1-7]", "tasks": 14, "access": "file-per-process", "size": MIB}
        rates = {"write": 4770.0, "read": 5150.0}
        figures = [(BANDWIDTH, {**labels, "operation": name}, rate * factor) for name, rate in rates.items()]
        where = "bare" if bed == "physical" else "vm"
        nodes = [node(f"client{n}", where="bare") for n in range(1, 8)]
        nodes += [node(f"oss{n}", () if bed == "physical" else (n,), "oss", where=where) for n in (1, 2)]
        found.append(run(trials(figures, spread=0.02), nodes=nodes, bed=bed, number=number))
    return tuple(found)


def transfer_nodes(most: int = 11, knee: int = 10) -> RunRecord:
    """2: throughput over the number of guests, a line for each transfer size, native dashed."""
    figures: list[_Figure] = []
    names = [f"fta{number:02}" for number in range(1, most + 1)]
    for n in range(1, most + 1):
        chosen = f"fta[01-{n:02}]" if n > 1 else "fta01"
        for size, each in ((10 * KIB, 40.0), (100 * KIB, 95.0), (MIB, 110.0)):
            for operation, share in (("write", 1.0), ("read", 0.92)):
                labels = {"nodes": chosen, "tasks": n, "size": size, "operation": operation}
                figures.append((BANDWIDTH, {**labels, "on": "vm"}, each * share * min(n, knee)))
                figures.append((BANDWIDTH, {**labels, "on": "host"}, each * share * knee / 4.5 * min(1.0, 0.5 + n / 8)))
    nodes = tuple(node(name, (place,), "fta") for place, name in enumerate(names))
    options = {"transfer_sizes": ["10KiB", "100KiB", "1MiB"], "native": True}
    return run(trials(figures, spread=0.02), nodes=nodes, options=options, bed="fta")


def burst_buffer(servers: int, number: int) -> RunRecord:
    """3: sequential bandwidth and random operations over the number of tasks; the network is the limit."""
    figures: list[_Figure] = []
    nodes = tuple(node(f"dac{n}", (n,), "mds", "oss") for n in range(1, servers + 1))
    for tasks in (1 << power for power in range(10)):
        grown = tasks / (tasks + 12)
        for operation, rate, random in (("write", 23_000, 340_000), ("read", 22_400, 470_000)):
            labels = {"tasks": tasks, "operation": operation}
            figures.append((BANDWIDTH, {**labels, "size": MIB}, servers * rate * grown))
            random_labels = {**labels, "operation": f"random_{operation}"}
            figures.append((IOPS, {**random_labels, "size": 4 * KIB}, servers * random * grown))
    hcas = {"mlx5_0": "MT_1 firmware 20.1, 100 Gb/sec (2X HDR)", "mlx5_1": "MT_1 firmware 20.1, 100 Gb/sec (2X HDR)"}
    hosts = tuple(host([one], name=f"simulated-{one.name}", hcas=hcas) for one in nodes)
    return run(trials(figures), bed=f"dac{servers}", number=number, nodes=nodes, hosts=hosts)


def converged(most: int = 24) -> RunRecord:
    """4: operations and bandwidth over the number of client nodes, a line for each block size."""
    figures: list[_Figure] = []
    for n in (1, 2, 4, 8, 12, 16, 20, most):
        chosen = f"nv[1-{n}]" if n > 1 else "nv1"
        for block, jobs, depth in ((4, 64, 64), (8, 64, 64), (64, 64, 8), (1024, 8, 4)):
            for direction, share in (("read", 1.0), ("write", 0.25)):
                labels = {"nodes": chosen, "block": block * KIB, "jobs": jobs, "depth": depth, "direction": direction}
                rate = 1e6 * n * share / math.sqrt(block / 4)
                figures.append((IOPS, labels, rate))
                figures.append((BANDWIDTH, labels, rate * block / 1024))
    nodes = tuple(node(f"nv{n}", (n,)) for n in range(1, most + 1))
    points = tuple({"block": f"{size}KiB"} for size in (4, 8, 64, 1024))
    return run(trials(figures), nodes=nodes, points=points, bed="converged")


def cloud_pairs() -> tuple[RunRecord, ...]:
    """5: latency and bisection bandwidth of pairs of several shapes, three trials on nodes made anew."""
    shapes = {
        "shape-a": (41.0, 1026.0),
        "shape-b": (37.1, 1121.0),
        "shape-c": (32.4, 1098.0),
        "shape-d": (2.63, 10306.0),
    }
    return tuple(
        run(
            trials([(LATENCY, {"size": 0}, late), (BANDWIDTH, {"size": MIB}, wide)]), bed=bed, number=number, fresh=True
        )
        for number, (bed, (late, wide)) in enumerate(shapes.items(), 1)
    )


def pinned_and_floating() -> tuple[RunRecord, RunRecord]:
    """The same twice: with pinned virtual CPUs, and with floating ones."""
    figures = [(BANDWIDTH, {"size": size}, 3000.0 * size / (size + 4096)) for size in SIZES]
    slower = [(metric, labels, value * 0.8) for metric, labels, value in figures]
    names = ("client1", "oss1")
    return (
        run(trials(figures, spread=0.02), nodes=[node(name, (2 + 2 * n, 3 + 2 * n)) for n, name in enumerate(names)]),
        run(trials(slower, spread=0.1), number=2, nodes=[node(name, range(8, 16), pinned=False) for name in names]),
    )


def two_cells() -> RunRecord:
    """Servers pinned within their cells with functions of their HCAs, and clients that float over what is left."""
    cells = {"0": (*range(12), *range(24, 36)), "1": (*range(12, 24), *range(36, 48))}
    mds, oss = (
        node(f"{role}1", cpus, role, devices={"ib0": f"mlx5_{n}/1"})
        for n, (role, cpus) in enumerate((("mds", (2, 3, 26, 27)), ("oss", (14, 15, 16, 17, 38, 39, 40, 41))))
    )
    rest = tuple(cpu for cpu in cells["1"] if (cpu,) not in oss.vcpus.values())
    floating = {str(vcpu): rest for vcpu in range(4)}
    clients = [replace(node(f"client{n}", devices={"ib0": "mlx5_0/1"}), vcpus=floating) for n in (1, 2, 3)]
    figures = [(BANDWIDTH, {"nodes": f"client[1-{n}]" if n > 1 else "client1"}, 1500.0 * n) for n in (1, 2, 3)]
    nodes = (mds, oss, *clients)
    hcas = {"mlx5_0": "MT_1 firmware 20.1, 100 Gb/sec (4X EDR)", "mlx5_1": "MT_1 firmware 20.1, 100 Gb/sec (4X EDR)"}
    remote = {one.name: 0.0 for one in (mds, oss)} | {one.name: 0.3 for one in clients}
    about = {"cpus": 48, "memory_kib": 192 << 20, "hcas": hcas, "cells": cells, "remote_memory": remote}
    return run(trials(figures), nodes=nodes, hosts=(host(nodes, name="kvm1", **about),), bed="cells")


def one_point() -> RunRecord:
    return run(trials([(BANDWIDTH, {"from": "client1", "to": "oss1"}, 1234.0)], count=1))


def many_points(count: int = 500) -> RunRecord:
    figures = [
        (BANDWIDTH, {"second": second, "direction": way}, share * (1000 + 120 * math.sin(second / 9) + second % 7 * 20))
        for second in range(1, count + 1)
        for way, share in (("read", 1.0), ("write", 0.6))
    ]
    return run(trials(figures, count=1))


def long_names(count: int = 6) -> RunRecord:
    names = [f"client-with-a-very-long-name-{n}.rack-{n}.cluster.institute.example.org" for n in range(count)]
    figures = [
        (BANDWIDTH, {"from": name, "to": names[0], "fabric": "the-second-infiniband-fabric", "on": on}, 2900.0 + 20 * n)
        for n, name in enumerate(names)
        for on in ("vm", "host")
    ]
    nodes = [node(name, (n,)) for n, name in enumerate(names)]
    note = f"{names[0]} was still busy with {names[1]} when the measurement of {names[2]} began"
    return run(trials(figures), nodes=nodes, notes=(note,), bed="a-bed-with-the-longest-name-1234")


def doubtful() -> RunRecord:
    """Emulated, over soft-RoCE, with remote memory, and with a spread that says that nothing is known."""
    figures = [(BANDWIDTH, {"size": size, "from": "client1"}, 100.0 + size / 1e5) for size in SIZES]
    nodes = (node("client1", (2, 3)), node("oss1", (4, 5), "oss"))
    hosts = (host(nodes, remote_memory={"client1": 0.25, "oss1": 0.0}),)
    about: dict[str, Any] = {"accel": "tcg", "soft": True, "hosts": hosts, "problems": ("bandwidth of 2B is 0",)}
    return run(trials(figures, spread=0.5), nodes=nodes, **about, skipped=("read: the device has no such verb",))


def load(nodes: Sequence[str] = ("client1", "oss1"), seconds: int = 90) -> str:
    """What `load.csv` holds."""
    lines = ["time,node,cpus,received_mib_s,sent_mib_s,read_mib_s,written_mib_s"]
    for second in range(seconds):
        for place, name in enumerate(nodes, 1):
            wave = abs(math.sin(second / 11)) * place
            lines.append(
                f"{1785549600 + second:.2f},{name},{wave:.3f},{100 * wave:.3f},{20 * wave:.3f},0.000,{9 * wave:.3f}"
            )
    return "\n".join(lines) + "\n"


def command(started: str, seconds: float, measurement: str = "pair") -> RunCommand:
    return RunCommand(measurement, "client", "client1", ("tool",), started, seconds, 0, False, "a.out", "a.err")  # noqa: FBT003


def with_topology(record: RunRecord, topology: Any) -> RunRecord:
    return replace(record, topology=json.loads(json.dumps(asdict(topology), default=str)))
