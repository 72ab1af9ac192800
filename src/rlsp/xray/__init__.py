"""A reward under X-rays: what it pays standard responses, which of them it ranks wrongly, what it pays the next token."""
