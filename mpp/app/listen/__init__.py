"""The sockets on which mpp listens. This package knows nothing about requests. Read ``listeners`` first."""
