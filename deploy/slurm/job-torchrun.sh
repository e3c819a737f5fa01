#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --requeue
srun "$PYTHON" -m torch.distributed.run --nnodes=2 --nproc-per-node=1 --rdzv-id="$SLURM_JOB_ID" \
  --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:29411 "$1"
