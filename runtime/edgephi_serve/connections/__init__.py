"""The sockets and their deadlines, and one request's bytes, key and log line."""
