//! No secret, token or remote error body comes to light anywhere.
