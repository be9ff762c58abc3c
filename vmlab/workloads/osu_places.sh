# shellcheck shell=sh
# What packages and `make install` call the folders; RHEL's packages call the programs mpitests-osu_*.
for above in /usr/libexec /usr/local/libexec /usr/lib /opt/osu-micro-benchmarks/libexec; do
    for part in pt2pt pt2pt/standard collective collective/blocking; do
        PATH=$PATH:$above/osu-micro-benchmarks/mpi/$part
    done
done
PATH=$PATH:/usr/local/bin:/usr/lib64/openmpi/bin:/usr/lib64/mpich/bin
export PATH
place() { command -v "osu_$1" || command -v "mpitests-osu_$1"; }
