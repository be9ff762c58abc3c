"""A guest's kernel that crashes itself, as a program in it asks."""

from vmlab.steps import Command

# From the background, so that ssh has its answer before the kernel is gone.
PANIC: Command = (
    "sh",
    "-c",
    "echo 1 >/proc/sys/kernel/sysrq; (sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &",
)
