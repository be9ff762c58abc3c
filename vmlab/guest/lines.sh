# shellcheck shell=sh
# lines FILE: what is in it is `told`, with the last newline that it may lack. No process is needed.
lines() {
  told=
  while IFS= read -r line || [ -n "$line" ]; do
    told="$told$line
"
  done <"$1"
}
