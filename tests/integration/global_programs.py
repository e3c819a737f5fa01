"""The example programs of tensorboardX's documentation of GlobalSummaryWriter, with the import changed.

    python global_programs.py threads | processes [fork | spawn] | singleton | steps

Their sleeps are shorter, and the functions that they leave open are here; the rest is theirs.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import threading
import time

from steno import GlobalSummaryWriter


def threads():
    def worker_function(worker_id):
        """Worker function that logs data from multiple threads."""
        writer = GlobalSummaryWriter.getSummaryWriter()
        for i in range(10):
            # Each worker logs independently with auto-incrementing steps
            loss = random.random()
            accuracy = random.random()
            writer.add_scalar(f"Worker_{worker_id}/Loss", loss)
            writer.add_scalar(f"Worker_{worker_id}/Accuracy", accuracy)
            time.sleep(0.005)

    threads = []
    for worker_id in range(5):
        thread = threading.Thread(target=worker_function, args=(worker_id,))
        threads.append(thread)
        thread.start()
    for thread in threads:
        thread.join()
    GlobalSummaryWriter.getSummaryWriter().close()


def process_function(process_id):
    """Process function that logs data from multiple processes."""
    # Each process gets its own writer instance
    writer = GlobalSummaryWriter(logdir="logs/multiprocess", comment=f"_process_{process_id}", coalesce_process=True)
    for i in range(20):
        metrics = {
            "loss": random.random(),
            "accuracy": random.random(),
            "learning_rate": 0.01 * (0.9**i),
        }
        for metric_name, value in metrics.items():
            writer.add_scalar(f"Process_{process_id}/{metric_name}", value)
        time.sleep(0.005)
    writer.close()


def processes(method):
    context = multiprocessing.get_context(method)
    processes = []
    for process_id in range(3):
        process = context.Process(target=process_function, args=(process_id,))
        processes.append(process)
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]


def singleton():
    def initialize_logging():
        return GlobalSummaryWriter(logdir="logs/singleton_experiment", comment="_global_logging")

    def train_one_epoch():
        return random.random()

    def run_validation():
        return random.random()

    def train_model():
        writer = GlobalSummaryWriter.getSummaryWriter()
        for epoch in range(100):
            loss = train_one_epoch()
            writer.add_scalar("Training/Loss", loss)

    def validate_model():
        writer = GlobalSummaryWriter.getSummaryWriter()
        accuracy = run_validation()
        writer.add_scalar("Validation/Accuracy", accuracy)

    initialize_logging()
    train_model()
    validate_model()
    GlobalSummaryWriter.getSummaryWriter().close()


def steps():
    writer = GlobalSummaryWriter("logs/auto_steps")
    for i in range(50):
        # Steps automatically increment: 0, 1, 2, 3, ...
        writer.add_scalar("Metric_A", i * 0.1)
        writer.add_scalar("Metric_B", i * 0.2)
        if i % 5 == 0:
            writer.add_scalar("Periodic_Metric", i)
        time.sleep(0.002)
    writer.close()


if __name__ == "__main__":
    {"threads": threads, "processes": processes, "singleton": singleton, "steps": steps}[sys.argv[1]](*sys.argv[2:])
