"""The section of the status page about shared and cached responses. Data and texts only; the pages render them."""
