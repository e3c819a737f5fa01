#!/usr/bin/env bash
# Runs docs/fleet.md's recipes for SLURM in a real SLURM of two nodes on this machine, and requeues the job; needs root.
#
#   apt-get install slurm-wlm munge; deploy/slurm/trial.sh [srun] [torchrun]     # with steno's Python in $PYTHON
#
# Both nodes are this machine, and each start of a job has an empty disk on each: what the hosts share is the store alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH="$PATH:/usr/sbin"
export PYTHON=${PYTHON:-python3} STENO_COLOR=0
place=$(mktemp -d)
export SLURM_CONF=$place/slurm.conf
mkdir "$place/state" "$place/spool"
cat >"$SLURM_CONF" <<CONF
ClusterName=trial
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool/%n
SlurmctldPidFile=$place/ctld.pid
SlurmdPidFile=$place/%n.pid
SlurmctldLogFile=$place/ctld.log
SlurmdLogFile=$place/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
KillWait=5
ReturnToService=2
NodeName=n[1-2] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=$(nproc)
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
end() {
  scancel -u root 2>/dev/null || true
  for one in "$place"/*.pid; do kill "$(cat "$one")" 2>/dev/null || true; done
  [ -z "${munged:-}" ] || kill "$munged" 2>/dev/null || true
}
trap end EXIT
if ! munge -n >/dev/null 2>&1; then
  install -d -o munge /run/munge
  setpriv --reuid munge --regid munge --clear-groups munged
  munged=$(cat /run/munge/munged.pid)
fi
slurmctld
slurmd -N n1
slurmd -N n2
for _ in $(seq 60); do
  [ "$(sinfo -h -t idle -o %D)" = 2 ] && break
  sleep 0.5
done
sinfo
for kind in ${*:-srun torchrun}; do
  export STORE=file://$place/store-$kind DISKS=$place/disks-$kind
  mkdir "$DISKS"
  job=$(sbatch --parsable --output="$place/$kind.out" --open-mode=append "$here/job-$kind.sh" "$here/train.py")
  "$PYTHON" "$here/judge.py" "$STORE" begun
  scontrol requeue "$job"
  echo "$kind: job $job is requeued"
  sleep 2 # one that begins in the second of its requeue is refused
  # A job that was requeued waits for two minutes; once the nodes have ended the first start it may begin.
  for _ in $(seq 240); do
    state=$(scontrol show job "$job" | grep -o 'JobState=[A-Z]*')
    case $state in
      JobState=COMPLETED | JobState=FAILED) break ;;
      JobState=PENDING) [ "$(sinfo -h -t idle -o %D)" != 2 ] || scontrol update JobId="$job" StartTime=now || true ;;
    esac
    sleep 0.5
  done
  sed 's/^/    /' "$place/$kind.out"
  scontrol show job "$job" | grep -o 'JobState=[A-Z]*\|Restarts=[0-9]*' | xargs
  "$PYTHON" "$here/judge.py" "$STORE" ended
done
rm -rf "$place/store-"* "$place/disks-"*
