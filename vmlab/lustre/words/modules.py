"""Kernel modules: absent, for another kernel, unsigned, or without the memory that they want."""

from vmlab.lustre.words import Row

_INSERT = r"could not insert (?:module )?\W?(?:\S*/)?(?P<module>[\w-]+?)(?:\.ko\S*?)?\W?: "
_OTHER_KERNEL = "the image's Lustre was built for another kernel: use an image whose modules fit"

ROWS = (
    Row(
        r"modprobe: FATAL: Module (?P<module>\S+) not found in directory (?P<where>\S+)",
        "there is no module {module} for the running kernel in {where}",
        _OTHER_KERNEL,
    ),
    Row(
        r"version magic '(?P<has>[^'\s]+)[^']*' should be '(?P<wants>[^'\s]+)",
        "a module is for the kernel {has}, and the guest runs {wants}",
        _OTHER_KERNEL,
    ),
    Row(
        r"(?P<module>[\w-]+): (?:disagrees about version of symbol|Unknown symbol) (?P<symbol>\w+)",
        "the module {module} does not fit the running kernel or another module: {symbol} is missing or different",
        _OTHER_KERNEL,
    ),
    Row(
        _INSERT + r"(?:Required key not available|Key was rejected by service)",
        "the kernel takes signed modules only (Secure Boot), and {module} has no signature that it trusts",
        "boot the guest without Secure Boot, or use an image whose kernel trusts the key of the modules",
    ),
    Row(
        _INSERT + r"Operation not permitted",
        "the kernel takes no more modules (lockdown, or kernel.modules_disabled): {module} is not loaded",
        "in the guest: cat /sys/kernel/security/lockdown; sysctl kernel.modules_disabled",
    ),
    Row(
        _INSERT + r"Cannot allocate memory",
        "the guest has too little memory for the module {module}",
        "give the node more `memory` in the topology, then: vmlab up FILE --restart",
    ),
    Row(
        _INSERT + r"(?:Invalid argument|Invalid module format|Exec format error|Unknown symbol)",
        "the module {module} does not fit the running kernel",
        _OTHER_KERNEL,
    ),
    Row(
        r"modprobe: FATAL: Module (?P<module>\S+) is in use|Module (?P<used>\S+) is in use",
        "a module is still in use and cannot be unloaded",
        "vmlab fs umount BED; in the guest: lsmod | grep lnet",
    ),
    # What a server says whose backend is not there, in the kernel's log.
    Row(
        r"Can't load module '(?P<module>[\w-]+)'",
        "the kernel cannot load the module {module}",
        "use an image whose Lustre has it: vmlab image list; in the guest: modprobe {module}",
    ),
    # `could not insert 'lustre': Network is down` is LNet's, below
    Row(
        _INSERT + r"(?P<why>(?!Network is down)\S.*)",
        "the module {module} cannot be loaded: {why}",
        "in the guest: dmesg | tail -n 20",
    ),
)
