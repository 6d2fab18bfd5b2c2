"""The destination and the format of the log. This package does not know what is logged. Read ``observer`` first."""
