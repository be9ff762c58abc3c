"""io500 in small, and what it has to have measured all the same."""

# A score that its rules do not call valid. Find looks for names with 01: of mdtest's files the 102nd is the first one.
SETTINGS = "{ior-easy: {blockSize: 64m}, ior-hard: {segmentCount: 200}, mdtest-easy: {n: 200}, mdtest-hard: {n: 200}}"
OPTIONS = ("io500", "--set", "stonewall_s=15", "--set", f"settings={SETTINGS}")
PHASES = frozenset(
    {
        *(f"ior-{kind}-{operation}" for kind in ("easy", "hard") for operation in ("write", "read")),
        *(f"mdtest-{kind}-{operation}" for kind in ("easy", "hard") for operation in ("write", "stat", "delete")),
        *("mdtest-hard-read", "find"),
    }
)
