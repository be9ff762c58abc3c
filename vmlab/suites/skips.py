"""What will be skipped on a bed, told before the night.

Suites say themselves what they need: `skip "needs >= 2 MDTs"`. The table below has these of 2.17.57's suites; another
version's may differ in a few. What a suite finds out while it runs (versions, features) is not in it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vmlab.suites.cfg import POWER
from vmlab.suites.shape import FLAKEY, Shape


@dataclass(frozen=True, slots=True)
class Skip:
    """Sub-tests of a suite, all of it if there are none, and why they will not run. `fails`: they will fail instead."""

    suite: str
    tests: tuple[str, ...]
    why: str
    fails: bool = False


def skips(suites: Iterable[str], shape: Shape) -> tuple[Skip, ...]:
    """In the order of the suites; of a suite that is skipped as a whole nothing else is told."""
    return tuple(skip for suite in dict.fromkeys(suites) for skip in _of(suite, shape))


def _of(suite: str, shape: Shape) -> Iterator[Skip]:
    whole = next((why for rule in _WHOLE if (why := rule(suite, shape))), "")
    if whole:
        yield Skip(suite, (), whole)
        return
    told: set[str] = set()
    for need, names in _NEEDS.get(suite, {}).items():
        if why := _lacking(need, shape):
            tests = tuple(name for name in names.split() if name not in told)
            told.update(tests)
            if tests:
                yield Skip(suite, tests, why)
    yield from _others(suite, shape)


def _others(suite: str, shape: Shape) -> Iterator[Skip]:
    if suite == "obdfilter-survey" and shape.backend == "zfs":
        yield Skip(suite, ("1a", "1b", "1c", "2a", "2b", "3a"), "LU-18889: excluded on ZFS since 2.2.7")
    if suite in _BARRIERS and shape.backend == "ldiskfs" and shape.has.get(FLAKEY) is False:
        why = f"a server has no {FLAKEY}, or no dmsetup: replay barriers need both, or a kernel with Lustre's patches"
        yield Skip(suite, (), why, fails=True)
    if suite in _FAILING and shape.failure_mode == "HARD":
        if shape.has.get(POWER) is False:
            yield Skip(suite, (), f"whatever fails a server: the driver node has no {POWER}")
        if missing := [f"{kind}s" for kind in ("MDT", "OST") if kind not in shape.pairs]:
            why = f"without a partner {' and '.join(missing)} wait in HARD mode until their server is up again"
            yield Skip(suite, (), why, fails=True)


_BARRIERS = frozenset({"replay-single", "replay-dual", "replay-vbr", "replay-ost-single", "insanity", "conf-sanity"})
_FAILING = _BARRIERS - {"conf-sanity"} | {"recovery-small"}
_SCALE = re.compile(r"recovery-(?:mds|oss|random|double)-scale")
_MPI = frozenset({"parallel-scale", "performance-sanity", "large-scale", "metadata-updates", "mpiio"})


def _few_clients(suite: str, shape: Shape) -> str:
    least = 3 if _SCALE.fullmatch(suite) else 2 if suite in ("large-scale", "parallel-scale-nfs") else 0
    return f"needs {least} or more clients, there are {shape.clients}" if shape.clients < least else ""


def _nothing_shared(suite: str, shape: Shape) -> str:
    if (_SCALE.fullmatch(suite) or suite == "sanity-hsm") and not shape.shared and shape.clients > 1:
        return "needs SHARED_DIRECTORY, which all nodes have"
    return ""


def _no_pairs(suite: str, shape: Shape) -> str:
    if suite == "mmp" and not {"MDT", "OST"} <= shape.pairs:
        return "failover pairs of MDTs and OSTs are needed"
    return ""


def _backend(suite: str, shape: Shape) -> str:
    if suite in ("mmp", "scrub-performance") and shape.backend != "ldiskfs":
        return f"ldiskfs only, and the backend is {shape.backend}"
    if suite == "sanity-lsnapshot" and shape.backend != "zfs":
        return f"ZFS only, and the backend is {shape.backend}"
    return ""


def _hard(suite: str, shape: Shape) -> str:
    if suite == "insanity" and shape.failure_mode == "HARD":
        return "does not work with FAILURE_MODE=HARD"
    return ""


def _few_osts(suite: str, shape: Shape) -> str:
    return f"needs >= 3 OSTs, there are {shape.osts}" if suite == "sanity-ec" and shape.osts < _EC_OSTS else ""


def _formats_all(suite: str, shape: Shape) -> str:
    del shape
    return "it erases all devices: SGPDD_YES=yes REFORMAT=yes" if suite == "sgpdd-survey" else ""


def _no_mpi(suite: str, shape: Shape) -> str:
    return "the driver node has no mpirun" if suite in _MPI and shape.has.get("mpirun") is False else ""


_EC_OSTS = 3
_WHOLE: tuple[Callable[[str, Shape], str], ...] = (
    _few_clients,
    _nothing_shared,
    _backend,
    _no_pairs,
    _hard,
    _few_osts,
    _formats_all,
    _no_mpi,
)


def _lacking(need: str, shape: Shape) -> str:
    """Why a need of the table is not met; "" if it is."""
    number, _, what = need.partition(" ")
    if what:
        there = {"MDTs": shape.mdts, "OSTs": shape.osts, "clients": shape.clients}[what]
        return f"needs >= {number} {what}, there {'is' if there == 1 else 'are'} {there}" if there < int(number) else ""
    match need:
        case "apart":
            first = shape.mdt_hosts[:2]
            met = shape.failure_mode != "HARD" or len(set(first)) == len(first)
            return "" if met else f"MDTs must be on different servers in HARD mode, and are on {first[0]}"
        case "MGS":
            return "" if shape.separate_mgs else "needs an MGS apart from MDT0000"
        case _:
            return "" if shape.backend == need else f"{need} only, and the backend is {shape.backend}"


_NEEDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "conf-sanity": {
            "2 MDTs": "50i 70a 70b 70c 70d 70e 71a 71b 71c 71d 71e 112b 122a 124 130 136 140 152",
            "2 OSTs": "29 36 50g 50h",
            "3 MDTs": "56b 93 137",
            "3 OSTs": "81 82a",
            "4 OSTs": "82b 82c 133",
            "MGS": "71a 71b 71c 71d 71e",
            "ldiskfs": (
                "17 18 37 52 54a 54b 55 60a 60b 62 63 65 72 78 83 87 99 108b 116 120 127 131 134 151a 151b 154"
            ),
            "zfs": "108a",
        },
        "insanity": {
            "2 MDTs": "1 10 11 12 13 14",
            "2 OSTs": "5",
        },
        "large-lun": {
            "ldiskfs": "1",
        },
        "lfsck-performance": {
            "2 MDTs": "8",
        },
        "ost-pools": {
            "2 OSTs": "7a 7c 11 20 21 22 23a 23b 24 27 32",
            "3 OSTs": "12 13 14 26",
            "4 OSTs": "29 30 31",
        },
        "racer": {
            "2 MDTs": "2",
        },
        "recovery-small": {
            "2 MDTs": (
                "110a 110b 110c 110d 110e 110f 110g 110h 110i 110j 110k 110m 138 139 149 150 154a 154b 158a 161"
            ),
            "2 clients": "10e",
            "3 MDTs": "145",
        },
        "replay-dual": {
            "2 MDTs": "22a 22b 22c 22d 23a 23b 23c 23d 29 32 33",
            "2 clients": "29",
            "apart": "22a 22c 23a 23c",
            "ldiskfs": "33",
        },
        "replay-single": {
            "2 MDTs": (
                "70d 70e 71a 80a 80b 80c 80d 80e 80f 80g 80h 81a 81b 81c 81d 81e 81f 81g 81h 100a 100b 100c "
                "100e 110a 110b 110c 110d 110e 110f 110g 111a 111b 111c 111d 111e 111f 111g 115 116a 116b 118 "
                "119 120 133 137a 137b 137c 201"
            ),
            "2 OSTs": "41 48 134 201",
            "4 MDTs": "112a 112b 112c 112d 112e 112f 112g 112h 112i 112j 112k 112l 112m 112n 117",
            "apart": (
                "80a 80b 80c 80e 80f 80g 81a 81b 81c 81e 81f 81g 100a 100b 100c 100e 110a 110b 110c 110d 110e "
                "110f 110g 111a 111b 111c 111d 111e 111f 111g 112a 112b 112c 112d 112e 112f 112g 112h 112i "
                "112j 112k 112l 112m 112n 115 116a 116b 117 133 137a 137b 137c"
            ),
        },
        "replay-vbr": {
            "MGS": "13",
        },
        "sanity": {
            "2 MDTs": (
                "0e 17n 24x 24y 24z 24B 24C 24F 24G 24H 24I 31p 33d 33e 33f 33h 33hh 33i 33j 36i 39p 48f 51c "
                "56bc 56bd 56rc 56Aa 56Edb 60h 65n 123c 123j 154b 154j 160d 162b 165e 182b 226b 226c 230a "
                "230b 230c 230d 230e 230f 230g 230h 230i 230j 230l 230m 230n 230o 230p 230q 230r 230t 230w "
                "230x 230y 230z 230A 230B 240 245b 247f 278 300a 300b 300c 300d 300e 300f 300g 300h 300i 300j "
                "300k 300l 300n 300ne 300o 300p 300q 300r 300s 300t 300ua 300ub 300uc 300ud 300ue 300uf 300ug "
                "300uh 300uj 316 319 406 407 409 412 413a 413b 413c 413d 413e 413f 413g 413h 413i 413j 417 "
                "421e 421g 427 801c 803a 803b 804 820 832 852 909"
            ),
            "2 OSTs": (
                "27b 27m 27n 27o 27p 27q 27r 27u 27v 27x 27y 27Ca 27D 27E 27F 27I 27Ia 27R 44A 56a 56s 56wa "
                "56wd 56x 56xB 56xC 56xD 56xa 56xab 56xc 56xd 56xe 56xf 56xg 56xh 56xi 56xj 56xk 56xl 56Ec "
                "65c 65k 65n 65r 101b 102b 102c 102d 102f 102j 116a 119b 119e 119f 119g 119h 119i 127c 130b "
                "130c 130e 130h 154C 229 311 314 398p 398q 406"
            ),
            "2 clients": "160v",
            "3 MDTs": "31q",
            "3 OSTs": "27H 51d 130d",
            "4 MDTs": "24E 230k 230u 230v 310a 310b 310c",
            "4 OSTs": "27V",
            "MGS": "27N",
            "ldiskfs": (
                "17m 17n 27cg 39r 48f 51e 57a 57b 60j 127f 129 150id 154db 160p 228a 228b 228c 230d 252 256 "
                "259 804 904 908a 908b"
            ),
            "zfs": "104c",
        },
        "sanity-ec": {
            "3 OSTs": "12b 21a 21b 21d",
            "4 OSTs": "11 12a 13 20 21c 27g 29a 30a 30b 30c 30d 31a 31d 32a 33a",
            "5 OSTs": "1g 10 27a 27h 34a",
            "6 OSTs": "1f 1j 1k 2d 3b 3d 3e 3g 7b 7c 7d 12c 22a 27b 27c 27d 31b 31c 31e 34b",
            "7 OSTs": "1h 2b 27e 27f",
            "8 OSTs": "1l 2c 2e 2f 6c 34c",
        },
        "sanity-flr": {
            "2 MDTs": "3 44a",
            "2 OSTs": "21 32 33a 33b 36b 36c 45 46 49a 202 203 204c 204d 204e 204f",
            "3 OSTs": "0k 33c 43a 47",
            "4 OSTs": "0b 0c 0e 0f 34a 34b 42 208a 208b",
            "ldiskfs": "71",
        },
        "sanity-hsm": {
            "2 MDTs": "400 401 403 404 405 406",
            "2 OSTs": "12c 607a 607b 607d 607e",
        },
        "sanity-krb5": {
            "2 OSTs": "7",
        },
        "sanity-lfsck": {
            "2 MDTs": ("2e 12a 15c 15d 22a 22b 23a 23d 24 26b 27b 28 31a 31b 31c 31d 31e 31f 31g 31h 32b 34 35 40a 43"),
            "2 OSTs": "18f 20a 20b",
            "3 OSTs": "36a 36b 36c",
            "ldiskfs": "29d 42",
        },
        "sanity-pfl": {
            "2 OSTs": (
                "0a 0e 1b 14 16a 16b 16c 16d 17 19a 19b 19c 19d 19e 19f 19g 20a 20b 20c 20d 20e 21b 22a 22b "
                "22c 22d 23a 23b 23c 23d 23e 23f 28"
            ),
            "3 OSTs": "0e 12 24a",
            "4 OSTs": "11b",
            "8 OSTs": "13",
        },
        "sanity-quota": {
            "2 MDTs": "7e 12b 40c 40d 98 300",
            "2 OSTs": "12a 71a 71b 80 85 91 96",
            "3 MDTs": "16b",
            "ldiskfs": "59",
        },
        "sanity-scrub": {
            "2 MDTs": "21",
            "ldiskfs": "1c 2 4b 4c 4d 4e 11 14 17a 17b 20 21",
        },
        "sanity-sec": {
            "2 MDTs": "27b 59c 83",
            "2 OSTs": "40 52 56 59a 59b",
            "2 clients": "23a 23b 48b 81b 75a",
            "ldiskfs": "37 38 56 57 58 62 70 75 75b",
        },
        "sanity-selinux": {
            "2 MDTs": "20d",
        },
        "sanityn": {
            "2 MDTs": (
                "2f 25b 33b 33c 33d 33e 43i 44i 45i 46i 47a 47b 47c 47d 47e 47f 47g 55e 80a 80b 81a 81b 83 90 "
                "91 92 111 112 114 116"
            ),
            "2 OSTs": "9b 16j 71b",
            "4 MDTs": "81c",
            "ldiskfs": "16c 104 115",
        },
    }
)
