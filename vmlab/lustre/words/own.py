"""What vmlab's own scripts say, which know what they looked for."""

from vmlab.lustre.words import Row

ROWS = (
    Row(
        r"(?P<said>\S+ is no Lustre target: it is not mounted)",
        "{said}",
        "vmlab up FILE, or vmlab fs format BED, formats it if it is empty",
    ),
    Row(
        r"(?P<said>\S+ (?:is formatted (?:as|for|without)|holds) .*(?:left alone|not mounted))",
        "{said}",
        "if nothing in the whole file system is needed: vmlab fs format BED --reformat",
    ),
    Row(
        r"the guest has no mount\.lustre\b(?!_)",
        "the guest has no /sbin/mount.lustre, without which mount does not tell Lustre what to mount",
        "use an image with Lustre's client packages (lustre-client, lustre-client-utils): vmlab image list",
    ),
    Row(
        r"the guest has no mount\.lustre_tgt",
        "the guest has no /sbin/mount.lustre_tgt, so mount gives Lustre no target",
        "use an image with the complete Lustre server packages; until then: ln -s mount.lustre /sbin/mount.lustre_tgt",
    ),
    Row(
        r"the kernel has no file system type (?P<kind>lustre\w*)",
        "the kernel does not know {kind}: the module lustre is not loaded",
        "vmlab up FILE loads it; in the guest: modprobe lustre, which says whether there is one for this kernel",
    ),
    Row(
        r"(?P<said>the guest's mke2fs does not know dirdata.*)",
        "{said}",
        "put Lustre's e2fsprogs into the image (https://downloads.whamcloud.com/public/e2fsprogs/), or `backend: zfs`",
    ),
    Row(
        r"(?:^|: |failed to execute |['\u2018\"])"
        r"(?P<tool>(?:mkfs|tunefs|mount)\.lustre\w*|lctl|lnetctl|lst|lfs|zpool|zfs|mke2fs|modprobe|lustre_rmmod|blkid)"
        r"['\u2019\"]?: (?:No such file or directory|(?:command )?not found)$",
        "the guest has no {tool}",
        "use an image with all of Lustre's packages for this node's role: vmlab image list",
    ),
)
