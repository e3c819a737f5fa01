"""The run's numbered book on one node, and its sealed parts."""
