"""The process that posts and follows."""
