"""The locator of backends that run in Kubernetes. Knows no other source. Read ``locator`` first."""
