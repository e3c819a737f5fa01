"""Curves of many runs at once, by bins of equal steps or times: what `steno.bins` answers."""
