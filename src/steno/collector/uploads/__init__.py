"""A run's way into its object stores."""
