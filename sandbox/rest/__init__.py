"""Discord's REST API v10, a module a topic. Importing :mod:`sandbox.rest.api` collects the routes."""
