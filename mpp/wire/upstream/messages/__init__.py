"""The two messages of an exchange with a backend: the body of the request, and the response with its parser."""
