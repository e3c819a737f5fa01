"""Curves of many runs together, by bins of equal steps or times: what `steno.bins` answers."""
