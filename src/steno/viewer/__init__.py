"""The viewer: a local web server over a directory of runs, and the page that it serves."""
