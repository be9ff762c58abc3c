# shellcheck shell=sh
# Debian has Open MPI in /usr/bin, RHEL where only `module load` finds it.
PATH=$PATH:/usr/lib64/openmpi/bin:/usr/local/bin:/opt/ior/bin
for tool in mpirun ior; do
    found=$(command -v "$tool") && echo "$tool $found"
done
mpirun --version 2>/dev/null | head -n 1 | sed 's/^/version /'
sed -n 's/^MemTotal: *\([0-9]*\) kB/memory \1/p' /proc/meminfo
exit 0
