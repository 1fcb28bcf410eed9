"""The networks: functions that return a `keras.Model`."""
