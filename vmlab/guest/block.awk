# The file should be all that is outside our block, and then the block. Of a begin without an end, or the other way
# round, only that line is ours. In /etc/hosts lines that call this host by a 127.0.1.x address go, too: its name has to
# mean its own address, or services listen there in vain. One process: under TCG each costs tens of milliseconds.
BEGIN {
  mode = ARGV[1]; path = ARGV[2]; begin = ARGV[3]; end = ARGV[4]; block = begin "\n"
  for (i = 5; i < ARGC; i++) block = block ARGV[i] "\n"
  block = block end "\n"
  getline self < "/proc/sys/kernel/hostname"
  while ((getline line < path) > 0) {
    have = have line "\n"
    if (line == begin) { out = out held; held = ""; inside = 1; continue }
    if (line == end) { held = ""; inside = 0; continue }
    count = split(line, words)
    mine = 0
    if (path == "/etc/hosts" && words[1] ~ /^127[.]0[.]1[.]/)
      for (i = 2; i <= count; i++) if (words[i] == self) mine = 1
    if (mine) continue
    if (inside) held = held line "\n"; else out = out line "\n"
  }
  want = out held block
  if (mode == "check") exit (have != want)
  ORS = ""
  print want
}
