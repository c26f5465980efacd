"""Routes, one module a resource. They check what is asked, call one or two statements, and shape the answer."""
