"""What happens in a training loop, and who is told: events, the loop's position, callbacks and destinations."""
