# shellcheck shell=sh
# What lst returns says little: a group without nodes is no error to it. Its words are looked at instead.
# Then come, for each group that asks, its name, whom its nodes are distributed to and the nodes; --; the test.
name=$1 to=$2 concurrency=$3 delay=$4 count=$5
shift 5
lst new_session --force "$name" || exit
add() {
    group=$1
    shift
    said=$(lst add_group "$group" "$@" 2>&1)
    echo "$said"
    case $said in *[Ff]ail* | *"deleting group"*) lst end_session; exit 1 ;; esac
}
groups='' distributions=''
until [ "$1" = -- ]; do
    add "$1" $3
    groups="$groups $1"
    distributions="$distributions $1=$2"
    shift 3
done
shift
add s $to
test_all() {
    for from in $distributions; do
        lst add_test --batch b --concurrency "$concurrency" --distribute "${from#*=}" --from "${from%%=*}" --to s "$@" ||
            return
    done
}
lst add_batch b && test_all "$@" && lst run b || { lst end_session; exit 1; }
lst stat --count "$count" --delay "$delay" $groups s
lst show_error $groups s
lst stop b
lst end_session
