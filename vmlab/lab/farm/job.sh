#!/bin/bash
# A bed, or a part of a night, as a Slurm job: `vmlab submit` hands it to sbatch, with a topology behind its last line.
# job.sh STORE PYTHON up|run|sweep [UP'S OPTIONS ...]
# job.sh STORE PYTHON night FILE ENTRY [NIGHTLY'S OPTIONS ...]
# job.sh STORE PYTHON join FILE JOBS
#
# Whatever ends the work (its own end, scancel, a requeue, USR1 before the time limit) ends vmlab as Ctrl-C does; then
# the beds are taken down and what was measured goes to STORE. What SIGKILL leaves goes with the next start of the job
# on this host, or by the Epilog: docs/farm.md.
set -u
store=$1 python=$2 work=$3
shift 3
job=$SLURM_JOB_ID
# Each job's own: names of hosts and beds in a folder that hosts share would be mixed up. `gc` would remove keys of
# beds that are on another host.
export VMLAB_STATE_DIR=$store/farm/$job
[ "$work" != join ] || VMLAB_STATE_DIR=$store
file=$VMLAB_STATE_DIR/topology.yaml
stopped='' child=''

stop() {
  stopped=$1
  echo "vmlab: $stopped: the bed is taken down" >&2
}
trap 'stop "the job is ended"' TERM INT HUP
# To everything that runs Slurm sends SIGTERM itself; USR1 comes to this shell alone.
trap 'stop "the time limit is near"; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' USR1

# Waits for a process whatever signals come meanwhile.
ended() {
  local status
  child=$!
  while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do :; done
  child=''
  return "$status"
}

vmlab() {
  echo "\$ vmlab $*" >&2
  "$python" -m vmlab "$@" &
  ended
}

beds() {
  find "$VMLAB_STATE_DIR"/hosts/*/beds -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -u
}

take_down() {
  local bed status=0
  for bed in $(beds); do
    vmlab down "$bed" --yes </dev/null || status=$?
  done
  return $status
}

# What was measured goes from a job's folder to the store: a whole run at once.
publish() {
  local path
  for path in "$1"/runs/*/; do
    [ ! -d "$path" ] || { mkdir -p "$store/runs" && mv -nT "$path" "$store/runs/$(basename "$path")"; }
  done
}

# A part of a night stays until it is joined with the others.
leave() {
  publish "$1"
  [ -d "$1/nights" ] || rm -rf "$1"
}

finish() {
  local status=$?
  trap '' TERM INT HUP USR1 # and so do those that are begun from here
  take_down || {
    touch "$VMLAB_STATE_DIR/left"
    publish "$VMLAB_STATE_DIR"
    echo "vmlab: what is left goes with: VMLAB_STATE_DIR=$VMLAB_STATE_DIR vmlab down BED" >&2
    exit $((status ? status : 4))
  }
  leave "$VMLAB_STATE_DIR"
  exit "$status"
}

# What jobs left in the store that were killed, and are over.
sweep() {
  local known folder
  known=$(squeue -h -o %A) || return 0
  for folder in "$store/farm"/*/; do
    [ -e "$folder/left" ] || grep -qx "$(basename "$folder")" <<<"$known" || leave "${folder%/}"
  done
}

topology() {
  sed '1,/^exit # ---/d' "$0"
}

# What `attach: auto` is, of InfiniBand. Where Slurm shares out functions, those that the job was not given are another's.
attach() {
  local shared given
  shared=$(scontrol show config | sed -n 's/^GresTypes *= *//p')
  given=$(squeue -h -j "$job" -o '%b|%h')
  case $given in
    *hca_vf*) echo vf ;;
    *hca*) echo passthrough ;;
    *'|NO') echo auto ;; # --exclusive
    *) case ,$shared, in *,hca,* | *,hca_vf,*) echo virtio ;; *) echo auto ;; esac ;;
  esac
}

# Name and address of each machine of the job, its id, and what it may take, in the place of their marks.
places() {
  local number=0 node address
  printf 's/VMLAB_JOB_/%s/g\n' "$job"
  if topology | grep -q VMLAB_ATTACH_; then
    node=$(attach)
    echo "vmlab: attach: auto is $node in this job" >&2
    printf 's/VMLAB_ATTACH_/%s/g\n' "$node"
  fi
  [ "$SLURM_JOB_NUM_NODES" -gt 1 ] || return 0
  for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    number=$((number + 1))
    address=$(scontrol -o show node "$node" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
    address=$(getent ahostsv4 "$address" | awk 'NR == 1 { print $1 }')
    printf 's/VMLAB_NODE_%s_/%s/g\ns/VMLAB_ADDRESS_%s_/%s/g\n' "$number" "$node" "$number" "$address"
  done
}

if [ "$work" = join ]; then
  vmlab nightly "$1" --join "$2"
  exit
fi
trap finish EXIT
umask 077
unset VMLAB_NAME VMLAB_DRY_RUN # were said of `submit`; sbatch hands on the whole environment
mkdir -p "$VMLAB_STATE_DIR" || exit 4
take_down || exit # what an earlier start of this job left
sweep 2>/dev/null
[ -z "$stopped" ] || exit 130

if [ "$work" = night ]; then
  again=()
  ! ls "$VMLAB_STATE_DIR"/nights/*/journal.jsonl >/dev/null 2>&1 || again=(--resume)
  vmlab nightly "$1" --entry "$2" --as "j$job" "${again[@]}" "${@:3}"
  exit
fi
topology | sed "$(places)" >"$file" || exit 4
if [ "$work" != sweep ]; then
  vmlab up "$file" "$@" || exit
  [ -z "$stopped" ] || exit 130
fi
case $work in
  run) vmlab run "$file" ;;
  sweep) vmlab run "$file" "$@" ;;
  up)
    echo "vmlab: the bed is up, until the job ends: VMLAB_STATE_DIR=$VMLAB_STATE_DIR vmlab status $(beds)" >&2
    sleep infinity &
    ended
    ;;
esac
exit # --- the topology
