# shellcheck shell=sh
# tunefs.lustre --dryrun writes nothing. It shows a dash for the colon of a target that was never mounted, and with ZFS
# the comment on the line of the parameters.
# `other` says in what way a device is not our target; its words: DEVICE SERVICE COMMENT DISK MGS.
said=$(tunefs.lustre --dryrun "$1" 2>/dev/null | sed 's/^\(Parameters:.*\)Comment: /\1\nComment: /')
is() { printf '%s\n' "$said" | sed -n "s/^$1: *//p" | head -n 1; }
target=$(is Target | sed 's/[:+=]\([MO][DS]T[0-9a-f]\{4\}\)$/-\1/')
comment=$(is Comment)
asks=$(is Parameters | tr ' ' '\n' | sed -n 's/^mgsnode=//p' | tr ',:' '  ')
other() {
    named="is formatted as $target${comment:+ ($comment)}, not as $2 ($3)"
    case $target in
        "") echo "is no Lustre target"; return ;;
        "$2") ;;
        *) echo "$named"; return ;;
    esac
    case $comment in "$3") ;; vmlab\ *) echo "$named"; return ;; esac
    if [ "$5" = here ]; then
        printf '%s\n' "$said" | grep -q '^ *(.*MGS' || echo "is formatted without the MGS that should lie on it"
        return
    fi
    for nid in $5; do
        case " $(echo $asks) " in *" $nid "*) return ;; esac
    done
    echo "is formatted for the MGS at $(echo ${asks:-no node}), not at $5"
}
