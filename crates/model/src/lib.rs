//! Identities, Spec, Revision, Instance, Endpoint and time: the nouns, and what makes them valid.
