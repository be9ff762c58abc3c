# shellcheck shell=sh
# Where Lustre's tests are, which sub-tests each suite has, which programs and modules the framework would find, and how
# much of Lustre is mounted.
PATH=$PATH:/usr/sbin:/sbin:/usr/lib64/openmpi/bin
for tests in "$(dirname "$(readlink -f "$(command -v auster || echo /nowhere/auster)")")" \
    /usr/lib64/lustre/tests /usr/lib/lustre/tests /usr/share/lustre/tests; do
    [ -f "$tests/auster" ] || continue
    echo "tests $tests"
    for suite in "$tests"/*.sh; do
        names=$(sed -n 's/^run_test  *\([0-9A-Za-z_]*\).*/\1/p' "$suite" | tr '\n' ' ')
        [ -z "$names" ] || echo "suite $(basename "$suite" .sh) $names"
    done
    break
done
for program in pdsh mpirun exportfs rpc.nfsd mount.nfs vmlab-power; do
    command -v "$program" >/dev/null && echo "has $program"
done
for module in nfsd nfs; do
    modprobe -n -q "$module" && echo "has $module"
done 2>/dev/null
command -v dmsetup >/dev/null && modprobe -n -q dm-flakey 2>/dev/null && echo "has dm-flakey"
echo "mounted $(grep -c '^[^ ]* [^ ]* lustre' /proc/mounts)"
exit 0
