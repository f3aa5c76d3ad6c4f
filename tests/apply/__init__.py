"""Apply: install, prove, put back, recover."""
