# shellcheck shell=sh
# Without its locks a client has no pages of a file; whether it has any left is asked, too. "dropped" is said only when
# all of it was done, else "kept" and why.
drop_caches() {
    refused=
    sync
    case $(stat -f -c %T "$1" 2>/dev/null) in
    lustre | UNKNOWN*)
        command -v lctl >/dev/null || { kept there is no lctl to give up its locks; return; }
        lctl set_param -n 'ldlm.namespaces.*.lru_size=clear' >/dev/null 2>&1 || refused=1 ;;
    esac
    { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null || { kept drop_caches cannot be written; return; }
    left=$(lctl get_param -n 'llite.*.max_cached_mb' 2>/dev/null | awk '$1 == "used_mb:" { n += $2; seen = 1 }
        END { if (seen) print n }')
    [ "${left:-0}" -le 1 ] || { kept "$left MiB stay in its cache"; return; }
    [ -n "$left" ] || [ -z "$refused" ] || { kept lctl cannot give up its locks; return; }
    echo "dropped $(uname -n)"
}
kept() { echo "kept $(uname -n) $*"; }
