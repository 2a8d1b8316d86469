"""The application tree of a release: which wheels, installed for another machine, and their licences."""
