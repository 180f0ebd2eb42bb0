//! Two objects that want the same registration.
