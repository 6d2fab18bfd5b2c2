"""The verdict: sentences about mpp and its servers for the status page, the metrics and the log. Pure. Read ``verdict`` first."""
