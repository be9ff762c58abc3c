# shellcheck shell=sh
# What lst returns says little: a group without nodes is no error to it. Its words are looked at instead.
name=$1 from=$2 to=$3 concurrency=$4 distribute=$5 delay=$6 count=$7
shift 7
lst new_session --force "$name" || exit
add() {
    group=$1
    shift
    said=$(lst add_group "$group" "$@" 2>&1)
    echo "$said"
    case $said in *[Ff]ail* | *"deleting group"*) lst end_session; exit 1 ;; esac
}
add c $from
add s $to
lst add_batch b &&
    lst add_test --batch b --concurrency "$concurrency" --distribute "$distribute" --from c --to s "$@" &&
    lst run b || { lst end_session; exit 1; }
lst stat --count "$count" --delay "$delay" c s
lst show_error c s
lst stop b
lst end_session
