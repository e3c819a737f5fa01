"""tensorboardX's words, and those of torch.utils.tensorboard: writers whose logdir is a run."""

from __future__ import annotations

from steno.writers.everywhere import GlobalSummaryWriter
from steno.writers.summary import SummaryWriter

__all__ = ["GlobalSummaryWriter", "SummaryWriter"]

GlobalSummaryWriter.__module__, SummaryWriter.__module__ = __name__, "steno"
