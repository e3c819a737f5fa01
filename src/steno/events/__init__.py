"""What happens in a training loop, and who receives it: events, the loop's position, callbacks and destinations."""
