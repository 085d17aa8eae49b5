"""The web server: HTTP interface and page."""
