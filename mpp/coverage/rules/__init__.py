"""
The recording and alerting rules of the servers: `survey` reads them, `page` parses the responses, and `composing` works out which
data they read, in each process that plans which server answers a query.
"""
