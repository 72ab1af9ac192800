"""A reward under X-rays: what it pays standard responses, which it ranks wrongly, what the next token earns."""
