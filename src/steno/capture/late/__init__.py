"""Values that are not there at the call: on a device, or traced."""
