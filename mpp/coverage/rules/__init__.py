"""
The recording and alerting rules of the servers: `survey` reads them, `page` parses the responses, and `composing` works out what
they read, in each process that plans which server answers a query.
"""
