# shellcheck shell=sh
# $1: our folder; $2: the cfg file, here; then the names of all nodes. The framework's users exist on all nodes with the
# same numbers (500 and 501 are its ID0 and ID1), and every node finds every other by name.
home=$1 cfg=$2
shift 2
for node; do
    getent hosts "$node" >/dev/null || { echo "no address is known of $node" >&2; exit 1; }
done
have() { # NAME NUMBER
    getent passwd "$1" >/dev/null && return
    getent group "$1" >/dev/null || groupadd -g "$2" "$1" || groupadd "$1"
    useradd -m -u "$2" -g "$1" "$1" || useradd -m -g "$1" "$1"
}
have sanityusr 500 && have sanityusr1 501 && have quota_usr 60000 && have quota_2usr 60001 && have mpiuser 60002 || exit
mkdir -p "$home/shared" && chmod 1777 "$home/shared" && cp "$cfg" "$home/"
