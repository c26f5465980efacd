"""What the API takes and gives: pydantic models of every request and response, a module a subject.

Times are integers, ms since 1970 UTC, and named *_at (or from, to, as_of). Unknown members of a request are refused.
"""
