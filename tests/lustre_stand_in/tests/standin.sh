#!/bin/bash
# shellcheck disable=SC2317,SC2329
. "$(dirname "$0")/framework.inc"

test_1() { [ -n "$FSNAME" ]; }
run_test 1 "passes"

test_2() { error "made to fail, with a comma"; }
run_test 2 "fails"

test_3() { skip "skipped on purpose"; }
run_test 3 "skips"

test_4() { sleep 3600; }
run_test 4 "hangs, and can be ended alone"

test_5a() { sleep 1; rm -f "$LOGDIR/$SUITE.$TESTNAME.test_log."*; error "lost its log"; }
run_test 5a "loses its log"

test_5b() { sleep 1; rm -f "$LOGDIR/$SUITE.$TESTNAME.test_log."*; }
run_test 5b "loses its log, and passes"

test_6() { [ -e /etc/may-crash ] || error "this is no guest"; echo "about to crash"; sync; sleep 1; echo c >/proc/sysrq-trigger; sleep 3600; }
run_test 6 "crashes its kernel"

test_7() { true; }
run_test 7 "passes afterwards"
complete
