#!/bin/bash
# run.sh [h|m]: everything that must hold, then everything that must fail. Two at a time. Result: results.txt
cd "$(dirname "$0")" || exit 1
: >results.txt
H='
hold_n3_f1|-DN=3 -DFAULTS=1 -DSTRONG -DPREM
hold_n2_p2_f1|-DN=2 -DNP=2 -DFAULTS=1 -DSTRONG -DPREM
hold_n3_f1_reb2|-DN=3 -DFAULTS=1 -DREBS=2 -DSTRONG -DPREM
hold_recv_n3_f1|-DN=3 -DFAULTS=1 -DREBS=0 -DRECV -DPREM -DLQ=2
hold_recv_n2_f1_reb1|-DN=2 -DFAULTS=1 -DREBS=1 -DRECV -DPREM -DLQ=2
mend_n3_f1|-DN=3 -DFAULTS=1 -DSTRONG -DPREM -DMEND
mend_n2_p2_f1|-DN=2 -DNP=2 -DFAULTS=1 -DSTRONG -DPREM -DMEND
live_n3_f0|-DN=3 -DFAULTS=0 -DLIVE
live_n3_f1|-DN=3 -DFAULTS=1 -DLIVE
full_mend_n4_f2|-DN=4 -DFAULTS=2 -DSTRONG -DPREM -DMEND -DWINDOW1
full_mend_recv_n3_f2|-DN=3 -DFAULTS=2 -DRECV -DLQ=2 -DPREM -DMEND -DWINDOW1
full_mend_live_n3_f1|-DN=3 -DFAULTS=1 -DLIVE -DMEND -DWINDOW1
live_n2_f1|-DN=2 -DFAULTS=1 -DLIVE
live_mend_n2_f1|-DN=2 -DFAULTS=1 -DLIVE -DMEND
env_anyfirst_n3|-DN=3 -DFAULTS=1 -DSTRONG -DENV_ANYFIRST
w1_implicit_n3|-DN=3 -DFAULTS=1 -DSTRONG -DPREM -DWINDOW1 -DM_IMPLICIT
w1_anyfirst_n3|-DN=3 -DFAULTS=1 -DSTRONG -DPREM -DWINDOW1 -DENV_ANYFIRST
equiv_apply_gt|-DN=3 -DFAULTS=1 -DREBS=0 -DRECV -DLQ=2 -DM_APPLY_GT
env_loss_n3|-DN=3 -DFAULTS=0 -DREBS=0 -DRECV -DENV_LOSS -DLQ=3
hold_n4_f1|-DN=4 -DFAULTS=1 -DSTRONG -DPREM
hold_n2_f2|-DN=2 -DFAULTS=2 -DSTRONG -DPREM
hold_n3_f2|-DN=3 -DFAULTS=2 -DSTRONG -DPREM
hold_n3_p2_f1|-DN=3 -DNP=2 -DFAULTS=1 -DSTRONG -DPREM
full_mend_n3_f2|-DN=3 -DFAULTS=2 -DSTRONG -DPREM -DMEND -DWINDOW1
mend_giveup_n3_f1|-DN=3 -DFAULTS=1 -DMEND -DM_GIVEUP
full_mend_n3_p2_f1|-DN=3 -DNP=2 -DFAULTS=1 -DSTRONG -DPREM -DMEND -DWINDOW1
'
M='
m_nofence|-DN=3 -DFAULTS=1 -DM_NOFENCE
m_apply_gt_anyfirst|-DN=3 -DFAULTS=1 -DRECV -DLQ=3 -DM_APPLY_GT -DENV_ANYFIRST
m_apply_gt_loss|-DN=3 -DFAULTS=0 -DRECV -DLQ=3 -DM_APPLY_GT -DENV_LOSS
m_del_early|-DN=3 -DFAULTS=1 -DM_DEL_EARLY
m_newest|-DN=3 -DFAULTS=1 -DM_NEWEST
m_rlast|-DN=3 -DFAULTS=1 -DRECV -DLQ=3 -DM_RLAST
m_outbox_first|-DN=3 -DFAULTS=1 -DM_OUTBOX_FIRST
m_repos|-DN=3 -DFAULTS=1 -DM_REPOS
m_giveup|-DN=3 -DFAULTS=1 -DM_GIVEUP
m_indoubt_pos|-DN=3 -DFAULTS=1 -DM_INDOUBT_POS
m_nonfatal|-DN=3 -DFAULTS=2 -DM_NONFATAL
m_implicit|-DN=3 -DFAULTS=1 -DM_IMPLICIT
m_seq_mem|-DN=3 -DFAULTS=1 -DM_SEQ_MEM
reach_zombie_delete|-DN=3 -DFAULTS=1 -DREACH_ZDEL
reach_late_orphan|-DN=3 -DFAULTS=1 -DREACH_LATE
reach_visibility|-DN=3 -DFAULTS=1 -DREACH_VIS
m_noseek|-DN=3 -DFAULTS=1 -DM_NOSEEK
m_anyfirst_prem|-DN=3 -DFAULTS=1 -DENV_ANYFIRST -DPREM
'
case ${1:-} in h) list=$H ;; m) list=$M ;; *) list=$M$H ;; esac
while IFS='|' read -r name defines; do
    [ -n "$name" ] || continue
    while [ "$(jobs -pr | wc -l)" -ge 2 ]; do wait -n; done
    ./one.sh "$name" "$defines" >>results.txt &
done <<<"$list"
wait
