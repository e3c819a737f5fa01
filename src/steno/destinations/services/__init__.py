"""Services with a library of their own, each in a process of its own."""
