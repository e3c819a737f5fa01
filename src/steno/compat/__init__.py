"""Names of other libraries, one module for each: what a program imports in their place."""
