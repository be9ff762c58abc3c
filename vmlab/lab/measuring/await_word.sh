# shellcheck shell=sh
# Say that we are there ($1), wait for the word ($2), say that we go ($3), and become the command that follows.
# Without the word, as when vmlab was killed, it ends.
echo "$1"
read -r word && [ "$word" = "$2" ] || exit 1
echo "$3"
shift 3
exec "$@" </dev/null
