//! The body of a webhook.
