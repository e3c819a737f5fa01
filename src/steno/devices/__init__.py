"""Values of array libraries: one adapter per library, found by a value's type; nothing is imported first."""
