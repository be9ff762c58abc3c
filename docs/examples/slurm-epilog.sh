#!/bin/bash
# Epilog (and Prolog, and HealthCheckProgram) of slurm.conf on the hosts of a farm of vmlab's beds: takes down what jobs
# of `vmlab submit` left here that were killed before they could. Beds of such a job are called jJOB-...; beds of jobs
# that are on this host, and all others, are left alone. Runs as root. Its own vmlab first in PATH, or VMLAB=/path/of/it.
set -u
vmlab=${VMLAB:-vmlab}
export PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin LIBVIRT_DEFAULT_URI=qemu:///system HOME=${HOME:-/root}

beds() {
  {
    virsh -q list --all --name
    virsh -q net-list --all --name
    virsh -q vol-list vmlab 2>/dev/null | awk '{ print $1 }'
  } | sed -n 's/^\(j[0-9][0-9]*-[a-z0-9-]*\)\..*/\1/p' | sort -u
}

# Jobs that have this host. In Epilog and Prolog the job itself is one of them, and has nothing here that it needs.
here() {
  squeue -h -w "${SLURMD_NODENAME:-$(hostname -s)}" -o %A
}

status=0
found=$(beds)
[ -n "$found" ] || exit 0
jobs=$(here) || exit 0 # whom they belong to cannot be told now
for bed in $found; do
  job=${bed%%-*}
  job=${job#j}
  if [ "$job" = "${SLURM_JOB_ID:-}" ] || ! grep -qx "$job" <<<"$jobs"; then
    "$vmlab" down "$bed" --yes || status=$?
  fi
done
exit "$status" # Slurm drains a host whose Epilog fails: what is left there has memory that it would give away
