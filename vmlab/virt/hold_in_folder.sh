# shellcheck shell=sh
# Makes an image in the folder $1 and says its name; has it open past the page cache, so that nobody else can open it to
# write, until a line comes, and says `free`; at the next line looks whether the other hosts' pages are there, and says
# `seen`. The image goes when this ends, whoever else ended first. $2: the other hosts' number. The first page is of the
# byte 1, that of the first other host, which comes next, of 2 ...
# It is a qcow2 image: QEMU lets several write to a raw one.
trap '' PIPE  # whoever asked may be gone
file=$(mktemp .vmlab-check-XXXXXXXXXX) || exit
trap 'rm -f -- "$file"' EXIT
[ "$(stat -c %u -- "$file")" = "$(id -u)" ] || fail "what root makes there is another user's (root_squash)"
qemu-img create -q -f qcow2 -- "$file" 1M || exit
said=$(io -c "write -q -P 1 0 4096" -- "$file")
[ -z "$said" ] || fail "$said"
# Its answer to the first word says that it has the file; it lets go of that when its input ends.
{ echo "help quit"; read -r _; } | io -- "$file" |
  while read -r line; do case $line in *quit*) echo "$file" && break ;; esac; done
echo free
read -r _
page=1
while [ "$page" -le "$2" ]; do
  said=$(io -r -c "read -q -P $((page + 1)) $((page * 4096)) 4096" -- "$file")
  [ -z "$said" ] || fail "what another host wrote there is not seen: $said"
  page=$((page + 1))
done
echo seen
