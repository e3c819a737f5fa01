"""A rank of the job: 100 records, then at its first start it waits to be requeued, and at the second it ends."""

import os
import time

import steno

start = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
disk = f"{os.environ['DISKS']}/{os.environ['SLURMD_NODENAME']}-{start}"
run = steno.init(project="trial", dir=disk, store=os.environ["STORE"], live_secs=1)
for step in range(100):
    run.log({"loss": step + run.rank / 8 + 1000 * start}, step=step)
print(f"start {start}, rank {run.rank}: {run.name}", flush=True)
while start == 0:
    time.sleep(0.2)
print(f"start {start}, rank {run.rank}: finish said {run.finish(timeout=120)}", flush=True)
