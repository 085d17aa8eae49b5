#!/bin/bash
# Segment an archive with a SLURM job array: one shard a task.
#   sbatch --export=ALL,SCANS=/archive/scans,MASKS=/archive/masks examples/slurm/segment_array.sh
# A task that was stopped is submitted again (sbatch --array=17 ...) and goes on after its last record. The task that
# ends last writes results.json. Another number of shards: change --array.
#SBATCH --job-name=tumortrace-segment
#SBATCH --array=1-100%32
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

: "${SCANS:?set it to the folder, archive or list of scans}" "${MASKS:?set it to a folder that all nodes share}"

# exec: SLURM's signal at the time limit reaches the program itself, which keeps what is finished.
exec tumortrace segment "$SCANS" --out "$MASKS" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_MAX"
