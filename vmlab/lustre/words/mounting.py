"""Mounts and what follows them: mount.lustre, mount(8), the kernel's errno, umount, recovery.

Each errno of a mount has its row, or is told as it is. What mount.lustre adds to it ("Is the MGS running?") it guesses
from the errno alone, so those words count only where nothing else is said.
"""

from vmlab.lustre.words import SYSLOG, Row

_MOUNT = r"mount (?P<what>\S+) at (?P<where>\S+) failed"

ROWS = (
    # no helper: mount(8) hands the kernel no options
    Row(
        r"bad superblock on \S+@\w+:/\S*|you might need a /sbin/mount\.<type> helper program|"
        r"Missing mount data: check (?:that )?/sbin/mount\.lustre is",
        "the guest has no /sbin/mount.lustre, without which mount does not tell Lustre what to mount",
        "use an image with Lustre's client packages (lustre-client, lustre-client-utils): vmlab image list",
    ),
    Row(
        r"cannot mount (?P<what>\S+): no server support",
        "the guest's mount.lustre is a client's: it mounts no targets",
        "use an image with Lustre's server packages for this node's role: vmlab image list",
    ),
    Row(
        r"Using an old version of /sbin/mount\.lustre",
        "the guest's mount.lustre is of another version than its modules",
        "use an image whose Lustre is of one version",
    ),
    Row(
        r"Missing mount data: check (?:that )?/sbin/mount\.lustre_tgt|wrong fs type, bad option, bad superblock on ",
        "the guest has no /sbin/mount.lustre_tgt, so mount gives Lustre no target",
        "use an image with the complete Lustre server packages; until then: ln -s mount.lustre /sbin/mount.lustre_tgt",
    ),
    Row(
        r"unknown filesystem type '(?P<kind>lustre\w*)'",
        "the kernel does not know {kind}: the module lustre is not loaded, or Lustre is not installed",
        "in the guest: modprobe lustre; use an image that carries Lustre for this node's role: vmlab image list",
    ),
    Row(
        r"(?P<device>\S+) has not been formatted with mkfs\.lustre",
        "{device} is no Lustre target, or of a backend that the image has no tools for",
        "vmlab fs format BED formats what is empty; in the guest: blkid {device}",
    ),
    Row(
        r"according to \S+ (?P<what>\S+) is already mounted on (?P<where>\S+)|(?P<twice>\S+) is already mounted\.",
        "it is mounted already",
        "vmlab fs status BED",
    ),
    Row(
        r"MMP failure info:.*?last update node: (?P<node>[\w.-]+)",
        "the disk is in use: {node} has it mounted (MMP)",
        "vmlab fs status BED says where; a target moves by: vmlab fs failover BED TARGET",
    ),
    Row(
        r"(?P<what>[^\s:]+): mount of mmp-protected device failed",
        "{what} is in use: another server has it mounted (MMP)",
        "vmlab fs status BED says where; a target moves by: vmlab fs failover BED TARGET",
    ),
    Row(
        _MOUNT + r": (?:Device or resource busy|Operation now in progress)",
        "{what} is in use: another server has it mounted (MMP), or it is mounted here under another name",
        "vmlab fs status BED says where; a target moves by: vmlab fs failover BED TARGET",
    ),
    Row(
        _MOUNT + r": Operation already in progress",
        "the target {what} runs on this server already",
        "in the guest: lctl dl; an umount that is not over yet keeps it",
        passes=True,
    ),
    Row(
        r"mount lustre-wbcfs at /mnt/(?P<label>\S+) failed: Address already in use",
        "{label} was in memory and is gone; the MGS still knows it, and takes no empty one in its place",
        "vmlab fs umount BED; then vmlab up BED begins the file system anew, empty",
    ),
    Row(
        _MOUNT + r": Address already in use|service's index is already in use",
        "the MGS knows another target with this index: it was formatted anew, or two have one index",
        "vmlab fs format BED --reformat makes the whole file system anew",
    ),
    Row(
        _MOUNT + r": No such file or directory",
        "the MGS has no file system of the name that {what} ends in, or its MDT was never mounted",
        "vmlab fs status BED: are the MGT and MDT0000 mounted, and is the name right?",
    ),
    Row(
        _MOUNT + r": No such device(?! or address)",
        "the module lustre is not loaded, or for a target that of its backend",
        "vmlab up FILE loads them; in the guest: modprobe lustre",
    ),
    Row(
        _MOUNT + r": No such device or address",
        "the target {what} did not start: its configuration log on the MGS does not fit",
        SYSLOG,
    ),
    # keys and rights
    Row(
        r"Error loading shared keys: (?P<why>.+)|(?:Failed to load key|Invalid shared key path:) (?P<key>\S+)",
        "the shared key (SSK) of the mount cannot be loaded",
        "the mount's `skpath` must name a key file, or a folder of them, that root alone may read",
    ),
    Row(
        _MOUNT + r": (?:Required key not available|Key has expired|Key has been revoked|Key was rejected by service)",
        "{what} asks for a key that the node does not have: the file system is secured by SSK or Kerberos",
        "mount with `skpath=FILE`, or in the guest: lgss_sk -l FILE; keyctl show; or set the flavour back on the MGS: "
        "lctl conf_param FSNAME.srpc.flavor.default=null",
    ),
    Row(
        _MOUNT + r": (?:Permission denied|Operation not permitted)",
        "{what} is refused to this node: its nodemap, its key or its security flavour does not allow it",
        f"on the MGS: lctl get_param nodemap.*.*; {SYSLOG}",
    ),
    Row(
        _MOUNT + r": Structure needs cleaning",
        "the backend file system of {what} is damaged",
        "unmounted, on its server: e2fsck -f {what}",
    ),
    # dquot_load_quota_sb (fs/quota/dquot.c), when nothing knows the format of the quota that mkfs.lustre has set up
    Row(
        r"mount (?P<what>/\S+) at (?P<where>\S+) failed: No such process",
        "the guest's kernel has no module quota_v2, without which {what} cannot count its quota",
        "use an image whose kernel has it (vmlab image build makes its own anew); in the guest: modprobe quota_v2",
    ),
    Row(
        _MOUNT + r": (?:Read-only file system|No space left on device)",
        "the disk of {what} cannot be written",
        "on the host: df -h, and the disk's file; in the guest: dmesg | tail; lsblk -o NAME,RO,SIZE",
    ),
    Row(
        _MOUNT + r": Cannot allocate memory",
        "the guest has too little memory to mount {what}",
        "give the node more `memory` in the topology, then: vmlab up FILE --restart",
    ),
    Row(
        _MOUNT + r": (?:Protocol (?:not supported|error)|Operation not supported|Unsupported .*)",
        "{what} is of a Lustre that this node's does not understand: the versions do not fit",
        f"on both: lctl --version; {SYSLOG}",
    ),
    Row(
        r"refused connection from this client with an incompatible version|"
        r"does not support feature\(s\) needed for correct operation of this client",
        "the server's version of Lustre does not fit the client's",
        "on both: lctl --version",
    ),
    Row(
        r"(?:Unknown option|unrecognized mount option) ['\"]?(?P<option>[^'\"\s,]+)",
        "Lustre does not know a mount option: {option}",
        "correct `mount_options` in the topology",
    ),
    Row(
        _MOUNT + r": No medium found",
        "the file system has no OST yet: a client needs one at least",
        "vmlab fs status BED: is an OST mounted?",
    ),
    Row(
        _MOUNT + r": Block device required",
        "{what} is a file, and no block device",
        "give the target a disk or a `device` in the topology",
    ),
    Row(
        r"peer (?P<nid>\S+) has no available nets|config has no valid NIDs",
        "LNet has neither a network nor a route towards the MGS",
        "vmlab lnet show BED: the node needs a common network with the MGS's servers, or routers between",
    ),
    Row(
        _MOUNT + r": Invalid argument",
        "{what} was refused: no LNet network or route leads to the MGS, or a mount option is wrong",
        f"vmlab lnet ping BED; {SYSLOG}",
    ),
    Row(
        _MOUNT + r": (?:Connection timed out|Input/output error|Connection refused)",
        "the MGS does not answer",
        "vmlab fs status BED: is the MGT mounted? vmlab lnet ping BED: does its server answer?",
        passes=True,
    ),
    Row(
        _MOUNT + r": (?:Cannot send after transport endpoint shutdown|Transport endpoint is not connected|"
        r"Resource temporarily unavailable|Interrupted system call|Connection reset by peer)",
        "{what} is not ready: a server is starting, or recovers",
        "vmlab fs status BED shows how far recovery is",
        passes=True,
    ),
    Row(
        _MOUNT + r": (?P<why>.+)",
        "{what} cannot be mounted at {where}: {why}",
        SYSLOG,
    ),
    # without an errno of the mount: what the kernel's log, or mount.lustre's guess, says
    Row(
        r"the MGS refuses to allow this server to start",
        "the MGS refuses the target: it knows another one of this name, or other servers of it",
        f"on the MGS's server: dmesg | grep MGS; vmlab fs status BED; {SYSLOG}",
    ),
    Row(
        r"cannot register this server with the MGS|Is the MGS running\?",
        "the MGS does not answer",
        "vmlab fs status BED: is the MGT mounted? vmlab lnet ping BED: does its server answer?",
        passes=True,
    ),
    Row(
        r"(?:denying connection for new client|not available for connect|waiting for \d+ clients in recovery)",
        "a target refuses clients while it recovers, or is not mounted on this server",
        "vmlab fs status BED shows how far recovery is, and where the target is mounted",
        passes=True,
    ),
    Row(
        r"warning: (?P<where>\S+): cannot resolve: No such file or directory",
        "the mount point {where} does not exist",
        "vmlab fs mount BED makes it",
    ),
    Row(
        r"umount: (?P<where>\S+): target is busy",
        "{where} is in use",
        "end what uses it, as named above, or vmlab down BED, which needs no clean umount",
    ),
    Row(
        r"abort_recovery: Invalid argument",
        "the target is not recovering: there is nothing to abort",
        "vmlab fs status BED",
    ),
    Row(
        r"No device found for name (?P<name>[^:\s]+)",
        "no target {name} runs on this server",
        "vmlab fs status BED says where it is mounted",
    ),
)
