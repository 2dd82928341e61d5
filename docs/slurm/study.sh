#!/usr/bin/env bash
# A study on a SLURM cluster: Ray on every node of the job, the study on the first, all of it gone when the study ends.
#
#   sbatch --nodes 4 --time 24:00:00 docs/slurm/study.sh study --seeds 0-5
#
# Needs `pip install tench[cluster]` in the environment it is submitted from, that environment, the pictures (TENCH_DATA) and the runs folder
# (TENCH_RUNS) at the same path on all nodes. The job's time is up, or a node dies? Submit it again: what is finished is found, the rest goes on.
#SBATCH --job-name=tench
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$head:${RAY_PORT:-6379}"

# Other users of the cluster may reach Ray's ports, and whoever speaks to Ray can run code: only who has this job's token may.
RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  tench "$@" --on "ray:$address"
