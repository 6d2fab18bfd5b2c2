"""
The look back: it asks the servers about their histories, and compares what they have.

`service` decides when it goes on, `agenda` what is next, `comparison` what is asked and concluded; `paced_queries` sends.
"""
