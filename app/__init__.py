"""The application: composition, settings, routes, websocket endpoint, command line, web pages."""
