#!/bin/bash
# Train one network on two nodes with four GPUs each, through torchrun.
#   sbatch --export=ALL,DATA=/archive/br35h,RUN=/archive/runs/two-nodes examples/slurm/train_two_nodes.sh
# Without GPUs: remove --gpus-per-node and pass PROCESSES=1, one process a node with all of its cores.
# Submit it again after a stop: it continues after the last complete epoch.
#SBATCH --job-name=tumortrace-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=64G
#SBATCH --time=08:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

: "${DATA:?set it to the dataset, a folder that all nodes see}" "${RUN:?set it to a run folder that all nodes share}"
CONFIG="${CONFIG:-default}"
PROCESSES="${PROCESSES:-4}"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
settings=(--config "$CONFIG")
if [[ -f "$RUN/last/checkpoint.safetensors" ]]; then
  settings=(--resume)
fi

srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$PROCESSES" --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "${nodes[0]}:${PORT:-29500}" \
  -m tumortrace train "$DATA" --out "$RUN" "${settings[@]}"
