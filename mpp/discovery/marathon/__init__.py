"""The locator of backends that run in Marathon. Knows no other source. Read ``locator`` first."""
