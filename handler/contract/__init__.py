"""What the server promises its clients: types of requests and answers, media types, OpenAPI."""
