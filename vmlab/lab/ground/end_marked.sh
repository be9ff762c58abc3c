# shellcheck shell=sh
# End what carries a mark. $1: "task" for exactly this mark, "run" for all of a run, and its files, "any" for all but what
# `exec` runs, and all files; $2: the mark, or the run; $3: the variable; $4: where runs have files; $5: how marks of
# `exec` begin.
# Values are compared and are no patterns: a quoted word in `case` matches itself only. What dies may have begun
# another, and has its files open until it is gone: asked again until nothing is left, for a few seconds at most.
how=$1 mark=$2 variable=$3 folders=$4 exec=$5
tries=0
while [ $tries -lt 25 ]; do
    left=
    for found in $(grep -lsz -e "^$variable=" /proc/[0-9]*/environ); do
        value=$(tr '\0' '\n' <"$found" | sed -n "s/^$variable=//p" | head -n 1)
        case $how in
        task) [ "$value" = "$mark" ] || continue ;;
        run) case $value in "$mark"/*) ;; *) continue ;; esac ;;
        any) case $value in "$exec"/*) continue ;; esac ;;
        esac
        process=${found#/proc/}
        kill -KILL "${process%/environ}" && left=1
    done
    [ -n "$left" ] || break
    sleep 0.2
    tries=$((tries + 1))
done 2>/dev/null
case $how in
run) rm -rf --one-file-system "${folders:?}/${mark:?}"; rmdir "$folders" ;;
any) rm -rf --one-file-system "${folders:?}" ;;
esac 2>/dev/null
exit 0
