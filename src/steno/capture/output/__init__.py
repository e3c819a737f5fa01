"""What the program prints: observed, put into lines, recorded within bounds."""
