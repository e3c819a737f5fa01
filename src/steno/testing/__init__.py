"""For those who write destinations: the exam, and fakes."""
