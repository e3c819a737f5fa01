"""SummaryWriter and its kin."""
