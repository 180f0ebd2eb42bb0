//! Stored objects that do not fit the schema: they harm nobody else and can be deleted.
