"""
The look back: it asks the servers about their histories, and compares what they have.

Begin with `service`, which decides when to go on. `agenda` says which time is next, `look_back` which queries are asked,
`comparison` compares the responses, and `paced_queries` sends the queries.
"""
