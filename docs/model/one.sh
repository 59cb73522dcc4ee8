#!/bin/bash
# one.sh NAME "DEFINES" [PAN-ARGUMENT...]: builds in its own directory, prints one line
set -u
name=$1 defines=$2
shift 2
mkdir -p "b/$name" && cd "b/$name" || exit 1
read -ra flags <<<"$defines"
spin -a "${flags[@]}" ../../protocol.pml >spin.out 2>&1 || {
    echo "$name SPINFAIL"
    tail -5 spin.out
    exit 1
}
compile=(-DSAFETY) search=(-m2000000)
case $defines in *LIVE*) compile=(-DNFAIR=3) search=(-a -f -m2000000) ;; esac
gcc -O2 -w "-DMEMLIM=${MEM:-6000}" -DVECTORSZ=512 -DCOLLAPSE "${compile[@]}" -o pan pan.c || exit 1
status=0
timeout "${TMO:-240}" ./pan "${search[@]}" "$@" >pan.out 2>&1 || status=$?
echo "$name | $defines | $(grep -o 'errors: [0-9]*' pan.out) | stored $(awk '/states, stored/ {print $1; exit}' pan.out)" \
    "| depth $(awk '/depth reached/ {sub(",", "", $6); print $6; exit}' pan.out)" \
    "| $(awk '/elapsed/ {print $4; exit}' pan.out)s rc=$status incomplete=$(grep -c 'Search not completed' pan.out)" \
    "| $(grep -m1 '^pan:1' pan.out)"
