# shellcheck shell=sh
# $1: an MPI program. Debian has Open MPI and MPICH in /usr/bin, RHEL where only `module load` finds them.
PATH=$PATH:/usr/local/bin:/usr/lib64/openmpi/bin:/usr/lib64/mpich/bin:/opt/$1/bin
if program=$(command -v "$1"); then
    echo "program $program"
    # Which MPI it was built for is in the names that it wants; under the other's mpirun each of its tasks is alone.
    if grep -aq ompi_mpi_ "$program"; then
        echo "built openmpi"
    elif grep -aq libmpi "$program"; then
        echo "built mpich"
    fi
fi
for name in mpirun mpirun.openmpi mpirun.mpich /usr/lib64/openmpi/bin/mpirun /usr/lib64/mpich/bin/mpirun; do
    found=$(command -v "$name") || continue
    case $("$found" --version 2>/dev/null) in
    *"Open MPI"* | *OpenRTE*) echo "mpirun openmpi $found" ;;
    *HYDRA* | *hydra*) echo "mpirun mpich $found" ;;
    esac
done
exit 0
