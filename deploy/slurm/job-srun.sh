#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --requeue
srun "$PYTHON" "$1"
