#!/bin/sh
# Checks the model of the join (docs/join.pml) with spin: every configuration has to hold, every deliberate fault has to
# be found. Needs spin and a C compiler; minutes on one core and less than 300 MB of memory. With arguments only the rows whose
# names contain one of these words.
set -eu
command -v spin >/dev/null || {
	echo 'test/model.sh: spin is not installed (Debian: apt-get install spin; otherwise https://spinroot.com)' >&2
	exit 2
}
cc=${CC:-cc}
command -v "$cc" >/dev/null || {
	echo "test/model.sh: no C compiler ($cc)" >&2
	exit 2
}
model=$(cd "$(dirname "$0")/../docs" && pwd)/join.pml
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
failed=0 rows=0 chosen=$*

# check NAME holds|found FLAGS: assertions, and with -DHOLDS=p in the flags <>[] p, without it valid end states.
check() {
	name=$1 want=$2
	shift 2
	case " $chosen " in
	'  ') ;;
	*)
		match=
		for c in $chosen; do case $name in *"$c"*) match=1 ;; esac; done
		[ -n "$match" ] || return 0
		;;
	esac
	rm -rf ./*
	spin -a "$@" "$model" >log 2>&1 || { cat log; exit 1; }
	case "$*" in
	*-DHOLDS=*) compile='' run='-a' what="<>[] $(echo "$*" | sed 's/.*-DHOLDS=\([a-z]*\).*/\1/')" ;;
	*) compile='-DSAFETY' run='' what='safety' ;;
	esac
	"$cc" -O0 $compile -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c >log 2>&1 || { cat log; exit 1; }
	begin=$(date +%s)
	./pan -m2000000 $run >out 2>&1 || true
	seconds=$(($(date +%s) - begin))
	states=$(awk '/states, stored/ { print $1; exit }' out)
	memory=$(awk '/total actual memory/ { printf "%.0f", $1; exit }' out)
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' out)
	if grep -q 'max search depth too small\|out of memory\|memory bound' out || [ -z "$errors" ]; then
		got=incomplete
	elif [ "$errors" = 0 ]; then
		got=holds
	else
		got="found: $(sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\1/p' out | head -n 1 | cut -c 1-60)"
	fi
	case $got in
	"$want"*) ;;
	*) got="$got  <-- $want was expected" failed=$((failed + 1)) ;;
	esac
	rows=$((rows + 1))
	printf '| %s | %s | %s | %s | %s | %s |\n' "$name" "$what" "$states" "$seconds" "$memory" "$got"
}

echo '| what happens | property | states | seconds | MB | result |'
echo '|---|---|---|---|---|---|'
check 'nothing' holds
check 'nothing' holds -DHOLDS=connected
check 'B crashes and comes back' holds -DRESTART=0 -DHOLDS=connected
check 'A crashes and comes back' holds -DRESTART=1 -DHOLDS=connected
check 'M crashes and comes back' holds -DRESTART=2 -DHOLDS=connected
check 'A crashes for good' holds -DGONE_A
check 'A crashes for good' holds -DGONE_A -DHOLDS=settled
check 'a message is lost' holds -DLOSE
check 'a message is lost' holds -DLOSE -DHOLDS=connected
check 'a message is lost' holds -DLOSE -DHOLDS=settled
check 'a message is lost, A crashes for good' holds -DLOSE -DGONE_A -DHOLDS=settled
check 'a message is lost, B crashes and comes back' holds -DLOSE -DRESTART=0 -DHOLDS=connected
check 'a message is lost, A crashes and comes back' holds -DLOSE -DRESTART=1 -DHOLDS=connected
check 'a message is lost, M crashes and comes back' holds -DLOSE -DRESTART=2 -DHOLDS=connected
check 'GREPAIR' holds -DREPAIR
check 'GREPAIR' holds -DREPAIR -DHOLDS=connected
check 'GREPAIR, a message is lost' holds -DREPAIR -DLOSE -DEARLY=0
check 'GREPAIR, a message is lost' holds -DREPAIR -DLOSE -DEARLY=0 -DHOLDS=connected
check "somebody else uses a link; a stranger's offer" holds -DFORGE
check "somebody else uses a link; a stranger's offer" holds -DFORGE -DHOLDS=connected
check "somebody else uses a link; a message is lost" holds -DFORGE -DLOSE -DEARLY=0 -DHOLDS=connected
check 'both offer, B has the smaller key' holds -DBOTH -DSMALLER=0 -DEARLY=0 -DHOLDS=connected
check 'both offer, M has the smaller key' holds -DBOTH -DSMALLER=1 -DEARLY=0 -DHOLDS=connected
check 'both offer, B has the smaller key, a message is lost' holds -DBOTH -DSMALLER=0 -DEARLY=0 -DLOSE -DHOLDS=connected
check 'both offer, M has the smaller key, a message is lost' holds -DBOTH -DSMALLER=1 -DEARLY=0 -DLOSE -DHOLDS=connected
check 'four members, A crashes for good' holds -DFOUR -DGONE_A -DEARLY=0
check 'four members, A crashes for good' holds -DFOUR -DGONE_A -DEARLY=0 -DHOLDS=introduced
check 'fault 1: both offer, nothing is withdrawn' found -DBOTH -DSMALLER=0 -DEARLY=0 -DHOLDS=connected -DBUG_1
check 'fault 2: responder deletes the old connection at R1' found -DREPAIR -DEARLY=0 -DBUG_2
check 'fault 3: T1 repeats nothing, not found any more' holds -DLOSE -DHOLDS=connected -DBUG_3
check 'fault 4: attempts are not compared' found -DBUG_4
check 'fault 5: hello is not checked' found -DFORGE -DBUG_5
check "fault 6: a stranger's offer is joined" found -DFORGE -DBUG_6
check 'fault 7: nothing is asked for again after a restart' found -DRESTART=0 -DHOLDS=connected -DBUG_7
check 'fault 8: attempts are forgotten' found -DLOSE -DBUG_8
check 'fault 9: G_NEED is ignored where the pair seems to work' found -DLOSE -DHOLDS=connected -DBUG_9
check 'fault 10: G_NEED never makes another offer' found -DLOSE -DHOLDS=connected -DBUG_10
check 'fault 11: only the inviter passes offers on' found -DFOUR -DGONE_A -DEARLY=0 -DHOLDS=introduced -DBUG_11
check 'fault 12: initiator deletes the old connection at I0' found -DREPAIR -DEARLY=0 -DBUG_12
check 'fault 13: the own offer is never given up' found -DBOTH -DSMALLER=1 -DEARLY=0 -DHOLDS=connected -DBUG_13
check 'fault 14: no G_NEED over the connection that was joined' found -DLOSE -DHOLDS=connected -DBUG_14
check 'fault 15: the log is not asked for' found -DLOSE -DHOLDS=connected -DBUG_15
check 'fault 16: T1 never makes another offer' found -DLOSE -DHOLDS=connected -DBUG_16
echo
if [ "$failed" -gt 0 ] || [ "$rows" = 0 ]; then
	echo "$failed of $rows are not as expected"
	exit 1
fi
echo "$rows checks, all as expected"
