"""async_log: functions run elsewhere, their results recorded; one file per mode."""
