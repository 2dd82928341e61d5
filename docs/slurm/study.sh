#!/usr/bin/env bash
# A study on a SLURM cluster: Ray on every node of the job, the study on the first, all of it gone when the study ends.
#
#   sbatch --nodes 4 --time 24:00:00 docs/slurm/study.sh study --seeds 0-5 --threads 1
#
# Everything after the script's name is the command, without "tench". Each run takes --threads of the job's cores; with 1 as many run at a time as
# there are cores. It needs `pip install tench[cluster]` in the environment it is submitted from, and that environment, the pictures (TENCH_DATA) and
# the runs folder (TENCH_RUNS) at the same path on all nodes: `tench runs` on the login node then shows how far it is, and slurm-JOB.out what it says.
# The job's time is up, or a node dies? Submit it again: what is finished is found, the rest goes on from the last checkpoint that had arrived.
# Your cluster may want --partition and --account; --gpus-per-node gives each run a GPU (not run on a GPU where this was written).
#SBATCH --job-name=tench
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=3G
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address="$head:${RAY_PORT:-6379}"

# Other users of the cluster may reach Ray's ports, and whoever speaks to Ray can run code: only who has this job's token may.
RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0

# srun does not take --cpus-per-task over from sbatch (since SLURM 22.05).
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  tench "$@" --on "ray:$address"
